// SPDX-License-Identifier: Apache-2.0
#include "disk/tool/children.hpp"

#include "disk/file_store.hpp"
#include "disk/open.hpp"

#include <algorithm>
#include <filesystem>

namespace croft::disk::tool {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t cache_bytes = 1U << 20U;

// Whoever has the file open is not disturbed: it is only looked at, and what can't be read is no
// child that anybody could use.
std::unique_ptr<Image> look_at(const std::string& path, Format format) {
    auto store = FileStore::open(path, {.lock = false});
    if (!store || detect_format(**store) != format)
        return nullptr;
    auto image = open_image(*std::move(store), format, cache_bytes);
    return image ? *std::move(image) : nullptr;
}

bool leads_to(const Image& child, const std::string& child_path, const fs::path& parent) {
    return std::ranges::any_of(parent_candidates(child_path, child.info().parent_paths),
        [&](const std::string& candidate) {
            std::error_code error;
            return fs::equivalent(candidate, parent, error);
        });
}

} // namespace

Result<std::vector<std::string>> children_beside(const std::string& path) {
    auto opened = open_chain(path, {.with_parents = false, .lock = false});
    if (!opened)
        return std::unexpected(std::move(opened).error());
    const ImageInfo& parent = (*opened)->top().info();
    std::vector<std::string> children;
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    for (fs::directory_iterator entry{real.parent_path(), error}, end; entry != end;
         entry.increment(error)) {
        std::error_code unknown;
        if (!entry->is_regular_file(unknown))
            continue;
        const std::string name = entry->path().string();
        const auto image = look_at(name, parent.format);
        if (image != nullptr &&
            std::ranges::find(image->info().parent_identities, parent.identity) !=
                image->info().parent_identities.end() &&
            leads_to(*image, name, real))
            children.push_back(name);
    }
    std::ranges::sort(children);
    return children;
}

Result<void> refuse_if_parent(const std::string& path) {
    const auto children = children_beside(path);
    if (!children)
        return std::unexpected(children.error());
    if (children->empty())
        return {};
    std::string names;
    for (const std::string& child : *children)
        names += (names.empty() ? "" : ", ") + child;
    return std::unexpected(Error::of(ErrorCode::in_use, path,
        "it can't be removed: it is the parent of " + names +
            "; merge it without removing it, and rebase its children to its parent"));
}

} // namespace croft::disk::tool
