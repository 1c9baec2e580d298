// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/error.hpp"
#include "disk/mount_list.hpp"

#include <functional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace croft::disk::mount {

struct AttachOptions {
    bool write = false;
    // For a mount that only the caller's name space has: a mount point of type "shared" above the
    // directory. A helper that serves the file system (ntfs-3g) then ends with the calling thread,
    // and has no mount below that folder itself: who ends as the last user of a file system that it
    // serves would wait for itself, for ever.
    std::string private_folder{};
    // Asked while a helper starts; true gives up.
    std::function<bool()> stopped{};
};

struct Attached {
    std::string type;       // the kernel's name of the file system, or the helper's
    pid_t helper = 0;       // 0: the kernel serves it
    bool no_replay = false; // its journal holds changes that can't be seen read-only
};

// Mounts a file system of a block device: by the kernel, or where that does not know the type, by
// a program that serves it over FUSE. Programs and devices on it are not honoured.
Result<Attached> attach(const std::string& device, const std::string& type,
    const std::string& directory, const AttachOptions& options);

// What would serve a type here: "ext4", "ntfs-3g"; empty when nothing would.
std::string driver_for(const std::string& type);

// What is mounted on a directory, the lowest first.
std::vector<Mount> mounts_on(const std::string& directory);
// The one that is seen; its type is empty when there is none.
Mount top_mount(const std::string& directory);

} // namespace croft::disk::mount
