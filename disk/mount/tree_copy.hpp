// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/error.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace croft::disk::mount {

// A path, and the directory that is "/" to it. In a guest's file system every name is hostile: no
// symbolic link leads out of `root`.
struct Place {
    int root = -1; // a descriptor; -1: the paths of this host
    std::string path;
    std::string shown; // what messages call it
};

struct TreeCopyOptions {
    // Keeps owners, extended attributes, set-user-ID bits and device nodes, which a guest could
    // have made up; modes and times are kept in any case.
    bool archive = false;
    std::function<bool()> stopped{};
    std::function<void(const std::string&)> note{}; // told what is left out
};

struct CopyCounts {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
};

// Copies files, and directories with all that is in them, as cp -r does: into the destination if
// that is a directory, else under its name. Each file appears complete, or not at all.
Result<CopyCounts> copy_trees(
    const std::vector<Place>& sources, const Place& destination, const TreeCopyOptions& options);

} // namespace croft::disk::mount
