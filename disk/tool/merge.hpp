// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/image.hpp"
#include "disk/tool/progress.hpp"

#include <optional>
#include <string>

namespace croft::disk::tool {

// A format is the first image's; without one, what is in the file decides. See OpenOptions.

// Writes a differencing disk's own contents into its parent, which then holds what the child
// showed; answers the parent's path. Stopped in between, the child shows the same as before, and
// merging again goes on. Other children of the parent are no longer its children afterwards.
Result<std::string> merge(
    const std::string& child, std::optional<Format> format, const Progress& progress);

// Gives a differencing disk another parent. Unless `only_locator`, what the child shows stays:
// where the parents differ, the old one's contents go into the child.
Result<void> rebase(const std::string& child, std::optional<Format> format,
    const std::string& parent, bool only_locator, const Progress& progress);

// The first offset at which two disks differ; the longer one's rest has to be zeros, or with
// `strict` the sizes have to be the same.
struct Difference {
    std::uint64_t offset = 0;
    bool size = false; // only the sizes differ
};
struct Compared {
    std::string path;
    std::optional<Format> format{};
};
Result<std::optional<Difference>> compare(
    const Compared& first, const Compared& second, bool strict, const Progress& progress);

} // namespace croft::disk::tool
