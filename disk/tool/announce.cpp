// SPDX-License-Identifier: Apache-2.0
#include "disk/tool/announce.hpp"

#include "disk/vhdx/image.hpp"

#include <algorithm>

namespace croft::disk::tool {

namespace {

// The new locator of a child, with what the old one knew besides.
std::vector<std::pair<std::string, std::string>> with_key(
    std::vector<std::pair<std::string, std::string>> pairs, const std::string& key,
    const std::string& value) {
    const auto found = std::ranges::find(pairs, key, [](const auto& pair) { return pair.first; });
    if (found == pairs.end())
        pairs.emplace_back(key, value);
    else
        found->second = value;
    return pairs;
}

} // namespace

Result<void> announce(Image& child, Image& parent) {
    auto* child_vhdx = dynamic_cast<vhdx::VhdxImage*>(&child);
    auto* parent_vhdx = dynamic_cast<vhdx::VhdxImage*>(&parent);
    if (child_vhdx == nullptr || parent_vhdx == nullptr)
        return {};
    // Merging goes on: the parent has the announced identity already, and keeps it.
    const auto announced = Guid::parse(child_vhdx->metadata().locator("parent_linkage2"));
    const Guid current = parent_vhdx->headers().current().data_write_guid;
    if (announced && *announced == current) {
        parent_vhdx->use_data_write_guid(current);
        return {};
    }
    const Guid next = Guid::random();
    parent_vhdx->use_data_write_guid(next);
    return child_vhdx->set_parent_locator(with_key(
        child_vhdx->metadata().parent_locator, "parent_linkage2", "{" + next.text() + "}"));
}

} // namespace croft::disk::tool
