// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/volume/layout.hpp"
#include "disk/volume/partition_table.hpp"

namespace croft::disk::volume {

// The record at a byte offset that is a multiple of the sector size, and within the disk.
Result<Mbr> read_mbr(Chain& disk, std::uint64_t offset);

// Whether a disk's first sector says that the disk is divided.
bool is_partition_table(const Mbr& mbr);
// Whether it only stands in front of a GPT.
bool is_protective(const Mbr& mbr);

// The primary partitions, and the logical ones in the extended partitions.
Result<void> read_mbr_partitions(Chain& disk, const Mbr& mbr, PartitionTable& table);

} // namespace croft::disk::volume
