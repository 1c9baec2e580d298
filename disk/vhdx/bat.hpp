// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/vhdx/layout.hpp"

#include <bit>
#include <cstdint>

namespace croft::disk::vhdx {

// Which entry of the block allocation table is whose, [MS-VHDX] 2.5: after the payload blocks of
// each chunk comes the entry of the chunk's sector bitmap.
struct BatShape {
    std::uint64_t block_size = 0;
    std::uint64_t sector_size = 0;
    bool differencing = false;

    // All of these are powers of two, which the data path, asked for each request, makes use of.
    int block_shift() const { return std::countr_zero(block_size); }
    int chunk_shift() const { // blocks of a chunk
        return std::countr_zero(sectors_per_chunk) + std::countr_zero(sector_size) - block_shift();
    }
    std::uint64_t chunk_ratio() const { return std::uint64_t{1} << chunk_shift(); }
    std::uint64_t blocks(std::uint64_t disk_size) const {
        return (disk_size + block_size - 1) >> block_shift();
    }
    std::uint64_t block_at(std::uint64_t offset) const { return offset >> block_shift(); }
    std::uint64_t within_block(std::uint64_t offset) const { return offset & (block_size - 1); }
    std::uint64_t payload_entry(std::uint64_t block) const {
        return block + (block >> chunk_shift());
    }
    std::uint64_t bitmap_entry(std::uint64_t block) const {
        return (block >> chunk_shift()) * (chunk_ratio() + 1) + chunk_ratio();
    }
    bool is_bitmap(std::uint64_t entry) const {
        return entry % (chunk_ratio() + 1) == chunk_ratio();
    }
    std::uint64_t block_of(std::uint64_t payload_entry) const {
        return payload_entry - payload_entry / (chunk_ratio() + 1);
    }
    // Of the chunk that an entry belongs to.
    std::uint64_t first_block(std::uint64_t entry) const {
        return entry / (chunk_ratio() + 1) * chunk_ratio();
    }
    // Entries that a disk of this size needs.
    std::uint64_t entries(std::uint64_t disk_size) const {
        const std::uint64_t count = blocks(disk_size);
        if (differencing)
            return ((count + chunk_ratio() - 1) >> chunk_shift()) * (chunk_ratio() + 1);
        return count + ((count - 1) >> chunk_shift());
    }
    // The entry's size in a region of whole MiB.
    std::uint64_t region_length(std::uint64_t disk_size) const {
        return (entries(disk_size) * sizeof(std::uint64_t) + mebibyte - 1) / mebibyte * mebibyte;
    }
};

} // namespace croft::disk::vhdx
