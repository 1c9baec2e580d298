// SPDX-License-Identifier: Apache-2.0
#include "disk/tool/announce.hpp"

#include "disk/chain.hpp"
#include "disk/vhdx/image.hpp"

#include <algorithm>
#include <array>

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

namespace {

Result<void> write_zeros(Image& image, Store::Range range) {
    static constexpr std::array<std::byte, 1U << 16U> zeros{};
    while (range.length > 0) {
        const std::uint64_t step = std::min<std::uint64_t>(range.length, zeros.size());
        CROFT_DISK_TRY(
            write_to(image, range.offset, std::span{zeros}.first(static_cast<std::size_t>(step))));
        range.offset += step;
        range.length -= step;
    }
    return {};
}

// Has a child say of all that it leaves to its parent within a range that it is zeros.
Result<void> hide_parent(Image& child, std::uint64_t offset, std::uint64_t end) {
    while (offset < end) {
        const Extent extent = child.find(offset, end - offset);
        if (extent.where == Extent::Where::absent) {
            CROFT_DISK_TRY(child.prepare(extent.offset, extent.length, Image::Access::read));
            continue;
        }
        child.finish(extent, Image::Outcome::was_read);
        if (extent.where == Extent::Where::parent) {
            std::vector<Store::Range> skipped;
            CROFT_DISK_TRY(child.discard(extent.offset, extent.length, skipped));
            for (const Store::Range& range : skipped)
                CROFT_DISK_TRY(write_zeros(child, range));
        }
        offset += extent.length;
    }
    return child.flush();
}

} // namespace

Result<void> make_as_large(Image& child, std::span<const std::unique_ptr<Image>> parent) {
    Image& top = *parent.front();
    if (top.size() >= child.size())
        return {};
    // Each sees of its parent what is before its own end.
    if (parent.size() > 1 && top.size() < parent[1]->size())
        CROFT_DISK_TRY(hide_parent(child, top.size(), std::min(child.size(), parent[1]->size())));
    return top.resize(child.size());
}

} // namespace croft::disk::tool
