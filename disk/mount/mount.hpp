// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/mount/contents.hpp"
#include "disk/mount/record.hpp"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace croft::disk::mount {

struct MountOptions {
    bool write = false;
    bool raw = false; // only the raw files; needs no privileges but those of fusermount3
    std::optional<Format> format{}; // without, what is in the file decides; see OpenOptions
    std::optional<unsigned> partition{};
    std::function<bool()> stopped{}; // asked where there is something to wait for
};

struct Mounted {
    Record record;
    std::vector<std::string> notes; // what could not be mounted, and why
};

// Presents a disk on a directory. A partition that was chosen, or the file system of a disk without
// partitions, is seen there itself; else each partition with a file system in a folder "p1" …
Result<Mounted> mount_disk(
    const std::string& file, const std::string& directory, const MountOptions& options);

struct UnmountOptions {
    bool force = false; // also when not all that was written can be brought to the disk
    std::function<void(const std::string&)> note{}; // told whom it waits for
};

// Ends what mount_disk() made, by its directory or by the disk's file, and returns when all is in
// the disk's file. While that can't be, everything stays mounted, so that what was written can
// still be read; with `force` it is given up, which is an error nevertheless.
Result<Record> unmount_disk(const std::string& target, const UnmountOptions& options);

// The absolute path without symbolic links, also of a mount point whose server is gone.
std::string real_path(const std::string& path);

// The line for users without the right to mount.
Error needs_root(const std::string& file);

} // namespace croft::disk::mount
