// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/chain.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace croft::disk {

// A partition as the table on a disk states it. Nothing of it is to be trusted but that a partition
// without a `problem` lies within the disk and shares no byte with another one of those.
struct Partition {
    unsigned number = 0;      // as Linux counts: MBR 1 to 4, its logical ones from 5; GPT by entry
    std::uint64_t offset = 0; // bytes, in the disk
    std::uint64_t length = 0; // bytes
    std::string type;         // "0x83", or a GUID
    std::string type_name;    // "Linux file system"; empty when it is none that we know
    std::string name;         // of GPT
    std::string id;           // of GPT, a GUID
    bool bootable = false;
    bool container = false; // an extended partition: the logical ones lie in it
    std::string problem;    // why it is not to be used; empty when nothing is wrong
};

struct PartitionTable {
    enum class Kind : std::uint8_t { none, mbr, gpt };

    Kind kind = Kind::none;
    std::string id;                    // of the disk: a GUID, or the signature of an MBR
    std::uint32_t sector_size = 0;     // bytes, that the table counts in
    std::vector<Partition> partitions; // by number
    std::vector<std::string> notes;    // what is wrong with the table, and was got around
};

std::string_view to_string(PartitionTable::Kind kind);

// Reads the partition table of a disk: MBR with extended partitions, or GPT by its primary header
// or the backup. A disk that begins with a file system has none. The error `corrupt` means that
// there is a table, but no copy of it that can be believed.
Result<PartitionTable> read_partition_table(Chain& disk);

} // namespace croft::disk
