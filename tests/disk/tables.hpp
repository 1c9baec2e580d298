// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/disk/memory_store.hpp"

#include <cstdint>
#include <vector>

namespace croft::disk::test {

// Partition tables, put onto empty disks.
struct Sectors {
    std::uint64_t first;
    std::uint64_t count;
};

// GPT with both headers, 128 entries, on a disk of `sectors` sectors. Entries are numbered from 1.
void put_gpt(SparseBytes& disk, std::uint64_t sectors, const std::vector<Sectors>& partitions,
    std::uint64_t sector_size = 512);
// Makes the checksums of a header, and of the entries that it points to, fit what is there.
void seal_gpt(SparseBytes& disk, std::uint64_t header_offset);

void put_mbr_entry(SparseBytes& disk, std::uint64_t record_offset, unsigned index,
    std::uint8_t type, Sectors sectors);

} // namespace croft::disk::test
