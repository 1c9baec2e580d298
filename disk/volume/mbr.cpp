// SPDX-License-Identifier: Apache-2.0
#include "disk/volume/mbr.hpp"

#include "disk/volume/partition_types.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <unordered_set>

namespace croft::disk::volume {

namespace {

constexpr unsigned first_logical = 5;
constexpr std::size_t logical_max = 128;

Partition partition_of(
    const MbrEntry& entry, unsigned number, std::uint64_t base, std::uint64_t sector_size) {
    Partition partition;
    partition.number = number;
    partition.offset = base + entry.start.get() * sector_size;
    partition.length = entry.count.get() * sector_size;
    partition.type = fmt::format("{:#04x}", entry.type);
    partition.type_name = mbr_type_name(entry.type);
    partition.bootable = entry.status == 0x80;
    partition.container = is_extended(entry.type);
    return partition;
}

// Follows the links from one extended record to the next. Each has to lie within the extended
// partition and be a new one, so a hostile chain ends.
Result<void> read_logical(Chain& disk, const Partition& extended, PartitionTable& table) {
    const auto note = [&table, &extended](std::uint64_t at, std::string_view what) {
        table.notes.push_back(fmt::format("extended partition {}: record at byte {}: {}; the "
                                          "logical partitions from there on are not shown",
            extended.number, at, what));
    };
    std::unordered_set<std::uint64_t> seen;
    unsigned number = first_logical;
    for (const Partition& partition : table.partitions)
        number = std::max(number, partition.number + 1);
    for (std::uint64_t at = extended.offset;;) {
        if (at < extended.offset || at - extended.offset >= extended.length ||
            at > disk.size() - table.sector_size) {
            note(at, "found it outside, expected it within the extended partition and the disk");
            return {};
        }
        if (!seen.insert(at).second) {
            note(at, "the links come back to it");
            return {};
        }
        if (seen.size() > logical_max) {
            note(at, fmt::format("found more than {} logical partitions", logical_max));
            return {};
        }
        const auto record = read_mbr(disk, at);
        if (!record)
            return std::unexpected(record.error());
        if (record->magic != mbr_magic) {
            note(at,
                fmt::format(
                    "signature: found {:#06x}, expected {:#06x}", record->magic.get(), mbr_magic));
            return {};
        }
        const MbrEntry& logical = record->entries[0];
        if (logical.type != 0 && logical.count != 0 && !is_extended(logical.type)) {
            Partition partition = partition_of(logical, number++, at, table.sector_size);
            const std::uint64_t end = extended.offset + extended.length;
            if (partition.offset <= at || partition.offset + partition.length > end)
                partition.problem =
                    fmt::format("reaches out of extended partition {}", extended.number);
            table.partitions.push_back(std::move(partition));
        }
        const MbrEntry& link = record->entries[1];
        if (link.type == 0 || link.count == 0 || !is_extended(link.type))
            return {};
        at = extended.offset + link.start.get() * std::uint64_t{table.sector_size};
    }
}

} // namespace

Result<Mbr> read_mbr(Chain& disk, std::uint64_t offset) {
    std::vector<std::byte> sector(disk.top().info().logical_sector_size);
    CROFT_DISK_TRY(disk.read(offset, sector));
    return load<Mbr>(sector);
}

bool is_partition_table(const Mbr& mbr) {
    const auto is_entry = [](const MbrEntry& entry) {
        return (entry.status & 0x7fU) == 0;
    };
    const auto in_use = [](const MbrEntry& entry) {
        return entry.type != 0 && entry.count != 0;
    };
    return mbr.magic == mbr_magic && std::ranges::all_of(mbr.entries, is_entry) &&
        std::ranges::any_of(mbr.entries, in_use);
}

bool is_protective(const Mbr& mbr) {
    return std::ranges::any_of(
        mbr.entries, [](const MbrEntry& entry) { return entry.type == mbr_type_protective; });
}

Result<void> read_mbr_partitions(Chain& disk, const Mbr& mbr, PartitionTable& table) {
    table.kind = PartitionTable::Kind::mbr;
    table.id = fmt::format("{:#010x}", mbr.signature.get());
    std::vector<Partition> extended;
    for (unsigned i = 0; i < mbr.entries.size(); ++i) {
        const MbrEntry& entry = mbr.entries[i];
        if (entry.type == 0 || entry.count == 0)
            continue;
        table.partitions.push_back(partition_of(entry, i + 1, 0, table.sector_size));
        Partition& partition = table.partitions.back();
        if (partition.offset == 0)
            partition.problem = "begins at sector 0, which holds the table itself";
        else if (partition.container)
            extended.push_back(partition);
    }
    for (const Partition& partition : extended)
        CROFT_DISK_TRY(read_logical(disk, partition, table));
    return {};
}

} // namespace croft::disk::volume
