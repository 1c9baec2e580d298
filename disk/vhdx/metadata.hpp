// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/store.hpp"
#include "disk/vhdx/layout.hpp"
#include "disk/vhdx/log.hpp"
#include "disk/vhdx/regions.hpp"

#include <string>
#include <utility>
#include <vector>

namespace croft::disk::vhdx {

// The items of the metadata region that describe the disk.
struct Metadata {
    std::uint32_t block_size = 0; // bytes
    bool fixed = false;
    bool differencing = false;
    std::uint64_t disk_size = 0; // bytes
    std::uint32_t logical_sector_size = 512;
    std::uint32_t physical_sector_size = 4096;
    Guid disk_id;
    std::vector<std::pair<std::string, std::string>> parent_locator; // key and value

    // Where the items are in the file that others than a creator change.
    std::uint64_t disk_size_offset = 0;
    std::uint64_t parent_locator_offset = 0;
    std::uint32_t parent_locator_length = 0;

    // The value of a key of the parent locator; empty when there is none.
    std::string_view locator(std::string_view key) const;

    // Refuses required items that are unknown; keeps optional ones as they are.
    static Result<Metadata> read(Store& store, const Regions::Region& region, const Replay& replay);
};

// The bytes of a metadata region of 1 MiB that describes `metadata`.
std::vector<std::byte> make_metadata_region(const Metadata& metadata);
// A parent locator item of at most `metadata_item_max` bytes.
std::vector<std::byte> make_parent_locator(
    const std::vector<std::pair<std::string, std::string>>& pairs);

} // namespace croft::disk::vhdx
