// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/chain.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace croft::disk {

struct OpenOptions {
    bool write = false;
    bool direct = false; // payload bypasses the page cache
    // Which format the top image has. Without it the file's contents decide, which is no good for a
    // raw disk that an untrusted guest writes: it could make itself a child of any file.
    std::optional<Format> format{};
    bool with_parents = true;
    bool lock = true;
    std::size_t cache_bytes = 4U << 20U; // of metadata, for the top image; a parent gets a quarter
};

// Opens one store by name; tests put their own in.
using StoreOpener = std::function<Result<std::unique_ptr<Store>>(
    const std::string& path, bool write, bool direct, bool lock)>;
StoreOpener file_opener();

// Opens an image and its ancestors. Each parent is looked for where the locators say, and has to be
// the one that the child was made from.
Result<std::unique_ptr<Chain>> open_chain(
    const std::string& path, const OpenOptions& options, const StoreOpener& opener = file_opener());

// Opens one image in a store.
Result<std::unique_ptr<Image>> open_image(
    std::unique_ptr<Store> store, std::optional<Format> format, std::size_t cache_bytes);

// What a store's contents look like.
Format detect_format(Store& store);

// The paths on this host that an image's words for its parent may mean, best first.
std::vector<std::string> parent_candidates(
    const std::string& image_path, const std::vector<std::string>& parent_paths);

// How a child beside `child_path` names `parent_path`, as Windows does: ".\parent.vhdx".
std::string windows_relative_path(const std::string& child_path, const std::string& parent_path);
// The absolute path with backslashes.
std::string windows_absolute_path(const std::string& path);

} // namespace croft::disk
