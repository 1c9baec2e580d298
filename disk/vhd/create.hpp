// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/store.hpp"
#include "disk/vhd/layout.hpp"

#include <cstdint>
#include <string>

namespace croft::disk::vhd {

struct CreateOptions {
    std::uint64_t size = 0; // bytes, a multiple of 512, up to 2040 GiB
    DiskType type = DiskType::dynamic;
    std::uint32_t block_size = 2U << 20U; // bytes
    Guid unique_id{};                     // zero: a random one
    // Of a differencing disk.
    Guid parent_id{};
    std::uint32_t parent_time_stamp = 0;
    std::string parent_relative_path{}; // as Windows writes it: ".\parent.vhd"
    std::string parent_absolute_path{};
};

// Writes a new, empty VHD into a store that is empty, durably.
Result<void> create(Store& store, const CreateOptions& options);

Result<void> check_size(std::string_view file, std::uint64_t size);
// "CHS Calculation", the specification's appendix, for the current size.
void set_geometry(Footer& footer);
// The format counts seconds from 2000-01-01 00:00 UTC on, the host from 1970-01-01.
std::uint32_t time_stamp_of(std::int64_t host_seconds);
std::int64_t host_seconds_of(std::uint32_t time_stamp);

// The bytes of the area that a parent locator takes, and the locator.
struct LocatorArea {
    ParentLocator locator;
    std::vector<std::byte> bytes; // whole sectors
};
LocatorArea make_locator(std::uint32_t platform, std::string_view path, std::uint64_t offset);

} // namespace croft::disk::vhd
