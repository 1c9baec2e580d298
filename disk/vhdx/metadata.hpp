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

// An item of the metadata region that this library does not know, and need not.
struct UnknownItem {
    Guid id;
    std::uint64_t offset = 0; // in the file
    std::uint32_t length = 0;
    std::uint32_t flags = 0;
};

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
    std::vector<UnknownItem> unknown;

    // Where the items are in the file that others than a creator change.
    std::uint64_t disk_size_offset = 0;
    std::uint64_t parent_locator_offset = 0;
    std::uint32_t parent_locator_length = 0;

    // The value of a key of the parent locator; empty when there is none.
    std::string_view locator(std::string_view key) const;

    // Refuses required items that are unknown; keeps optional ones as they are.
    static Result<Metadata> read(Store& store, const Regions::Region& region, const Replay& replay);
};

// A new metadata region.
struct MetadataRegion {
    struct Piece {
        std::uint64_t offset = 0; // in the region
        std::vector<std::byte> bytes{};
    };
    std::uint32_t length = 0;                // a multiple of 1 MiB
    std::vector<Piece> pieces{};             // the table and the items that are known
    std::vector<std::uint64_t> unknown_at{}; // where the others belong, in the region
};
MetadataRegion make_metadata_region(const Metadata& metadata);
// A parent locator item of at most `metadata_item_max` bytes.
std::vector<std::byte> make_parent_locator(
    const std::vector<std::pair<std::string, std::string>>& pairs);

} // namespace croft::disk::vhdx
