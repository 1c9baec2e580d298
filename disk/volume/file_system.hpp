// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/chain.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace croft::disk {

// What a partition, or a disk without partitions, seems to hold, by the marks that its type leaves.
struct FileSystem {
    std::string type; // as mount(8) knows it: "ext4", "vfat", "ntfs"; or "swap", "LVM2_member" …
    bool mountable = false; // a file system, not part of something else
    std::string label;      // hostile text with control characters taken out
    std::string id;
};

// Looks into the `length` bytes from `offset`; nothing when there is nothing that we know.
Result<std::optional<FileSystem>> probe_file_system(
    Chain& disk, std::uint64_t offset, std::uint64_t length);

namespace volume {

// Whether such a file system begins with a sector that could be taken for an MBR.
bool has_boot_sector(const FileSystem& found);

} // namespace volume

} // namespace croft::disk
