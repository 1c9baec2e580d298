// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/image.hpp"
#include "disk/mount/export.hpp"
#include "disk/volume/file_system.hpp"
#include "disk/volume/partition_table.hpp"

#include <optional>
#include <string>
#include <vector>

namespace croft::disk::mount {

// A part of a disk that can be mounted by itself, or shown as a file.
struct Volume {
    Partition partition; // number 0: the whole disk
    std::optional<FileSystem> file_system;

    bool usable() const { return partition.problem.empty() && !partition.container; }
    bool mountable() const { return usable() && file_system && file_system->mountable; }
    std::string type() const { return file_system ? file_system->type : std::string{}; }
    std::string raw_name() const { // of its raw file and of its folder
        return partition.number == 0 ? "disk" : "p" + std::to_string(partition.number);
    }
};

// What is on a disk.
struct DiskContents {
    std::uint64_t size = 0;
    std::uint32_t sector_size = 512;
    PartitionTable table;
    std::string table_error;     // there is one, but no copy of it is whole
    std::vector<Volume> volumes; // the partitions; the whole disk where there are none

    std::vector<RawFile> raw_files() const;
    // The partition of that number; or without one the only file system.
    Result<Volume> choose(const std::string& file, std::optional<unsigned> partition) const;
};

// Without a format, what is in the file decides; see OpenOptions.
Result<DiskContents> read_contents(const std::string& file, std::optional<Format> format);

} // namespace croft::disk::mount
