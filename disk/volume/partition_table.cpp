// SPDX-License-Identifier: Apache-2.0
#include "disk/volume/partition_table.hpp"

#include "disk/volume/file_system.hpp"
#include "disk/volume/gpt.hpp"
#include "disk/volume/mbr.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace croft::disk {

namespace {

// What reaches beyond the disk, or into one before it in the table, is listed but not to be used:
// through two names the same bytes could be changed in two ways.
void find_problems(PartitionTable& table, std::uint64_t disk_size) {
    std::vector<const Partition*> sound;
    for (Partition& partition : table.partitions) {
        if (!partition.problem.empty())
            continue;
        if (partition.offset >= disk_size || partition.length > disk_size - partition.offset) {
            partition.problem = fmt::format("ends at byte {}, beyond the disk's {}",
                partition.offset + partition.length, disk_size);
            continue;
        }
        if (partition.container)
            continue; // the logical ones lie in it
        const auto in_the_way = std::ranges::find_if(sound, [&partition](const Partition* other) {
            return partition.offset < other->offset + other->length &&
                other->offset < partition.offset + partition.length;
        });
        if (in_the_way != sound.end())
            partition.problem = fmt::format("overlaps partition {}", (*in_the_way)->number);
        else
            sound.push_back(&partition);
    }
}

} // namespace

std::string_view to_string(PartitionTable::Kind kind) {
    switch (kind) {
    case PartitionTable::Kind::none:
        break;
    case PartitionTable::Kind::mbr:
        return "mbr";
    case PartitionTable::Kind::gpt:
        return "gpt";
    }
    return "none";
}

Result<PartitionTable> read_partition_table(Chain& disk) {
    PartitionTable table;
    table.sector_size = disk.top().info().logical_sector_size;
    // An ISO image that boots from disks too has a table, but what it holds is the image.
    if (disk.size() < table.sector_size || disk.top().info().format == Format::iso)
        return table;
    const auto mbr = volume::read_mbr(disk, 0);
    if (!mbr)
        return std::unexpected(mbr.error());
    if (!volume::is_partition_table(*mbr))
        return table;
    // The boot sector of a file system ends as an MBR does, and may hold anything where the
    // entries would be.
    const auto whole = probe_file_system(disk, 0, disk.size());
    if (!whole)
        return std::unexpected(whole.error());
    const std::optional<FileSystem>& found = *whole;
    if (found && volume::has_boot_sector(*found))
        return table;
    auto outcome = volume::is_protective(*mbr) ? volume::read_gpt(disk, table)
                                               : volume::read_mbr_partitions(disk, *mbr, table);
    CROFT_DISK_TRY(std::move(outcome));
    find_problems(table, disk.size());
    return table;
}

} // namespace croft::disk
