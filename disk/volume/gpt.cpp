// SPDX-License-Identifier: Apache-2.0
#include "disk/volume/gpt.hpp"

#include "disk/utf16.hpp"
#include "disk/volume/crc32.hpp"
#include "disk/volume/layout.hpp"
#include "disk/volume/partition_types.hpp"

#include <fmt/format.h>
#include <optional>

namespace croft::disk::volume {

namespace {

// A header with its entries, both of which have the checksum that they should.
struct Copy {
    GptHeader header;
    std::vector<std::byte> entries;
};

template <class Found, class Expected>
Error wrong(const Chain& disk, std::uint64_t offset, std::string_view what, const Found& found,
    const Expected& expected) {
    return Error::corrupt(disk.top().store().name(), offset,
        fmt::format("GPT {}: found {}, expected {}", what, found, expected));
}

Result<GptHeader> read_header(Chain& disk, std::uint64_t lba, std::uint64_t sector_size) {
    const std::uint64_t offset = lba * sector_size;
    if (offset > disk.size() || disk.size() - offset < sector_size)
        return std::unexpected(wrong(disk, offset, "header", "the end of the disk", "a header"));
    std::vector<std::byte> sector(static_cast<std::size_t>(sector_size));
    CROFT_DISK_TRY(disk.read(offset, sector));
    auto header = load<GptHeader>(sector);
    if (header.signature != gpt_signature)
        return std::unexpected(wrong(disk, offset, "header's signature",
            fmt::format("{:#018x}", header.signature.get()),
            fmt::format("{:#018x}", gpt_signature)));
    if (header.header_size < sizeof header || header.header_size > sector_size)
        return std::unexpected(wrong(disk, offset, "header's size", header.header_size.get(),
            fmt::format("{} to {}", sizeof header, sector_size)));
    GptHeader unsealed = header;
    unsealed.header_crc = 0;
    save(sector, 0, unsealed);
    const std::uint32_t crc = crc32(std::span{sector}.first(header.header_size));
    if (header.header_crc != crc)
        return std::unexpected(wrong(disk, offset, "header's checksum",
            fmt::format("{:#010x}", header.header_crc.get()), fmt::format("{:#010x}", crc)));
    if (header.my_lba != lba)
        return std::unexpected(wrong(disk, offset, "header's own place", header.my_lba.get(), lba));
    return header;
}

Result<Copy> read_copy(Chain& disk, std::uint64_t lba, std::uint64_t sector_size) {
    const auto header = read_header(disk, lba, sector_size);
    if (!header)
        return std::unexpected(header.error());
    const std::uint64_t at = lba * sector_size;
    // Sizes that the specification allows are powers of two from 128 on.
    const std::uint64_t entry_size = header->entry_size.get();
    if (entry_size < sizeof(GptEntry) || (entry_size & (entry_size - 1)) != 0)
        return std::unexpected(wrong(disk, at, "size of an entry", entry_size, "128, 256, 512 …"));
    const std::uint64_t bytes = entry_size * header->entry_count.get();
    if (header->entry_count == 0 || bytes > gpt_entries_bytes_max)
        return std::unexpected(wrong(disk, at, "number of entries", header->entry_count.get(),
            fmt::format("1 to {}", gpt_entries_bytes_max / entry_size)));
    const std::uint64_t whole = (bytes + sector_size - 1) / sector_size * sector_size;
    const std::uint64_t sectors = disk.size() / sector_size;
    if (header->entries_lba < 2 || header->entries_lba >= sectors ||
        whole / sector_size > sectors - header->entries_lba)
        return std::unexpected(wrong(disk, at, "place of the entries", header->entries_lba.get(),
            fmt::format("2 to {}", sectors - std::min(sectors, whole / sector_size))));
    Copy copy{*header, std::vector<std::byte>(static_cast<std::size_t>(whole))};
    const std::uint64_t entries_at = header->entries_lba * sector_size;
    CROFT_DISK_TRY(disk.read(entries_at, copy.entries));
    copy.entries.resize(static_cast<std::size_t>(bytes));
    const std::uint32_t crc = crc32(copy.entries);
    if (header->entries_crc != crc)
        return std::unexpected(wrong(disk, entries_at, "entries' checksum",
            fmt::format("{:#010x}", header->entries_crc.get()), fmt::format("{:#010x}", crc)));
    return copy;
}

void take_entries(const Copy& copy, std::uint64_t sector_size, PartitionTable& table) {
    const std::uint64_t lba_max = ~std::uint64_t{0} / sector_size - 1;
    const GptHeader& header = copy.header;
    for (std::uint32_t i = 0; i < header.entry_count; ++i) {
        const auto entry = load<GptEntry>(copy.entries, std::size_t{i} * header.entry_size.get());
        if (entry.type.is_zero())
            continue;
        Partition partition;
        partition.number = i + 1;
        partition.type = entry.type.text();
        partition.type_name = gpt_type_name(partition.type);
        partition.name = utf8_from_utf16(entry.name);
        partition.id = entry.id.text();
        partition.bootable = (entry.attributes & gpt_attribute_legacy_boot) != 0;
        const std::uint64_t first = entry.first_lba;
        const std::uint64_t last = entry.last_lba;
        if (last < first || last > lba_max) {
            partition.problem = fmt::format("goes from sector {} to {}", first, last);
        } else {
            partition.offset = first * sector_size;
            partition.length = (last - first + 1) * sector_size;
            if (first < header.first_usable_lba || last > header.last_usable_lba)
                partition.problem = fmt::format("lies in sectors {} to {}, expected them within "
                                                "the usable ones, {} to {}",
                    first, last, header.first_usable_lba.get(), header.last_usable_lba.get());
            else if (first < 2)
                partition.problem = "overlaps the table itself";
        }
        table.partitions.push_back(std::move(partition));
    }
}

// A raw file does not say what its sectors are; the header's place tells.
std::uint64_t sector_size_of(Chain& disk) {
    const std::uint64_t stated = disk.top().info().logical_sector_size;
    constexpr std::uint64_t other = 4096;
    if (disk.top().info().format == Format::raw && stated != other && disk.size() % other == 0 &&
        !read_header(disk, 1, stated) && read_header(disk, 1, other))
        return other;
    return stated;
}

} // namespace

Result<void> read_gpt(Chain& disk, PartitionTable& table) {
    const std::uint64_t sector_size = sector_size_of(disk);
    table.kind = PartitionTable::Kind::gpt;
    table.sector_size = static_cast<std::uint32_t>(sector_size);
    auto copy = read_copy(disk, 1, sector_size);
    // The primary says where its backup is. Without it, that is the last sector.
    const std::uint64_t last_lba = disk.size() / sector_size - 1;
    const std::uint64_t backup_lba = copy ? copy->header.alternate_lba.get() : last_lba;
    auto backup = backup_lba <= last_lba
        ? read_copy(disk, backup_lba, sector_size)
        : std::unexpected(wrong(disk, sector_size, "backup's place", backup_lba, last_lba));
    if (!copy && !backup)
        return std::unexpected(Error::of(ErrorCode::corrupt, disk.top().store().name(),
            fmt::format("no copy of the partition table is whole: {}; {}", copy.error().text(),
                backup.error().text())));
    if (!copy)
        table.notes.push_back("the backup stands in for the primary: " + copy.error().text());
    else if (!backup)
        table.notes.push_back("there is no whole backup: " + backup.error().text());
    if (copy && backup_lba < last_lba)
        table.notes.push_back(fmt::format(
            "the backup is in sector {}, expected it in the last, {}", backup_lba, last_lba));
    const Copy& chosen = copy ? *copy : *backup;
    table.id = chosen.header.disk_id.text();
    take_entries(chosen, sector_size, table);
    return {};
}

} // namespace croft::disk::volume
