// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/guid.hpp"
#include "disk/image.hpp"
#include "disk/vhdx/create.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace croft::disk::tool {

// What Hyper-V Manager proposes, and users of today expect, for a new dynamic disk.
inline constexpr std::uint64_t default_disk_size = 127ULL << 30U;

struct NewDisk {
    Format format = Format::vhdx;
    Allocation allocation = Allocation::dynamic;
    std::uint64_t size = 0;       // bytes; 0: the parent's, or the default
    std::uint64_t block_size = 0; // bytes; 0: one that suits
    std::uint32_t logical_sector_size = 512;
    std::uint32_t physical_sector_size = 4096;
    std::string parent{}; // path; makes a differencing disk
    // Of a copy that takes the place of its original: what the original had.
    Guid disk_id{};
    Guid data_write_guid{}; // of a VHDX
    std::vector<std::string> parent_paths{};
    std::string parent_identity{};
    std::optional<std::int64_t> parent_modified{}; // see ImageInfo
    vhdx::CreateOptions::Unknown unknown{};
    std::vector<std::pair<std::string, std::string>> parent_locator{}; // of a VHDX, as it is
};

// Creates a disk in a new file; an existing one is replaced only on request. After an error there
// is no file.
Result<void> create_file(const std::string& path, NewDisk disk, bool replace);

// Creates it in a store that is empty. `path` is what relative locators start from.
Result<void> create_in(Store& store, const std::string& path, const NewDisk& disk);

// The format that a file name's ending stands for.
std::optional<Format> format_of_name(const std::string& path);
std::optional<Format> format_of_word(const std::string& word);

} // namespace croft::disk::tool
