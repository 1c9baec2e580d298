// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/store.hpp"
#include "disk/vhdx/layout.hpp"
#include "disk/vhdx/log.hpp"

#include <span>
#include <vector>

namespace croft::disk::vhdx {

// The region table: where the block allocation table and the metadata are.
struct Regions {
    struct Region {
        Guid guid;
        std::uint64_t offset = 0; // in the file
        std::uint32_t length = 0;
        bool required = false;
        std::uint32_t entry = 0; // place in the table
    };
    Region bat;
    Region metadata;
    std::vector<Region> all; // with those that this library does not know

    // Those that this library does not know.
    std::vector<Region> unknown() const;

    // Reads the first of the two tables that is valid; refuses unknown regions that are required,
    // regions that overlap one another or the log, and those outside the file.
    static Result<Regions> read(Store& store, const Header& header, const Replay& replay);
};

// The bytes of a region table.
std::vector<std::byte> make_region_table(std::span<const Regions::Region> regions);
bool is_whole_region_table(std::span<const std::byte> table);
// Sets the checksum of a table.
void seal_region_table(std::span<std::byte> table);

} // namespace croft::disk::vhdx
