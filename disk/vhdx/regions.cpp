// SPDX-License-Identifier: Apache-2.0
#include "disk/vhdx/regions.hpp"

#include "disk/crc32c.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>
#include <optional>

namespace croft::disk::vhdx {

namespace {

using Region = Regions::Region;

std::string defect_of(std::span<const std::byte> table) {
    const auto header = load<RegionTableHeader>(table);
    if (header.signature != region_table_signature)
        return fmt::format("region table signature: found {:#x}, expected {:#x}",
            header.signature.get(), region_table_signature);
    std::vector<std::byte> copy{table.begin(), table.end()};
    seal_region_table(copy);
    if (const auto expected = load<RegionTableHeader>(copy).checksum; header.checksum != expected)
        return fmt::format("region table checksum: found {:#x}, expected {:#x}",
            header.checksum.get(), expected.get());
    if (header.entry_count > region_entries_max)
        return fmt::format("region table entries: found {}, expected at most {}",
            header.entry_count.get(), region_entries_max);
    return {};
}

Result<void> check_place(
    const Store& store, const Header& header, const Region& region, std::uint64_t at) {
    if (region.offset % mebibyte != 0 || region.length % mebibyte != 0 || region.length == 0 ||
        region.offset < header_section_size || region.offset > store.size() ||
        region.length > store.size() - region.offset)
        return std::unexpected(Error::corrupt(store.name(), at,
            fmt::format("region {}: found {} bytes at {}, expected whole MiB within the file of {} "
                        "bytes, from 1 MiB on",
                region.guid.text(), region.length, region.offset, store.size())));
    const std::uint64_t log = header.log_offset;
    if (region.offset < log + header.log_length && log < region.offset + region.length)
        return std::unexpected(Error::corrupt(
            store.name(), at, fmt::format("region {}: overlaps the log", region.guid.text())));
    return {};
}

Result<void> check_overlap(const Store& store, const std::vector<Region>& regions) {
    std::vector<Region> sorted = regions;
    std::ranges::sort(sorted, {}, &Region::offset);
    for (std::size_t i = 1; i < sorted.size(); ++i) {
        if (sorted[i].offset < sorted[i - 1].offset + sorted[i - 1].length)
            return std::unexpected(Error::corrupt(store.name(), region_table_offsets[0],
                fmt::format("regions {} and {} overlap at {}", sorted[i - 1].guid.text(),
                    sorted[i].guid.text(), sorted[i].offset)));
    }
    return {};
}

Result<Regions> parse(const Store& store, const Header& header, const std::vector<std::byte>& table,
    std::uint64_t table_offset) {
    Regions regions;
    const std::uint32_t count = load<RegionTableHeader>(table).entry_count;
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::size_t at = sizeof(RegionTableHeader) + i * sizeof(RegionTableEntry);
        const auto entry = load<RegionTableEntry>(table, at);
        const Region region{
            entry.guid, entry.file_offset, entry.length, (entry.required & 1U) != 0, i};
        CROFT_DISK_TRY(check_place(store, header, region, table_offset + at));
        const bool known = region.guid == bat_region || region.guid == metadata_region;
        if (!known && region.required)
            return std::unexpected(Error::of(ErrorCode::unsupported, store.name(),
                "region " + region.guid.text() + " is required and unknown"));
        Region& place = region.guid == bat_region ? regions.bat : regions.metadata;
        if (known && place.length != 0)
            return std::unexpected(Error::corrupt(
                store.name(), table_offset + at, "region " + region.guid.text() + " occurs twice"));
        if (known)
            place = region;
        regions.all.push_back(region);
    }
    if (regions.bat.length == 0 || regions.metadata.length == 0)
        return std::unexpected(Error::corrupt(store.name(), table_offset,
            "region table: found no region for the block allocation table or the metadata"));
    CROFT_DISK_TRY(check_overlap(store, regions.all));
    return regions;
}

} // namespace

bool is_whole_region_table(std::span<const std::byte> table) {
    return defect_of(table).empty();
}

void seal_region_table(std::span<std::byte> table) {
    auto header = load<RegionTableHeader>(table);
    header.checksum = 0;
    save(table, 0, header);
    header.checksum = crc32c(0, table.first(region_table_size));
    save(table, 0, header);
}

Result<Regions> Regions::read(Store& store, const Header& header, const Replay& replay) {
    std::string defects;
    for (const std::uint64_t offset : region_table_offsets) {
        std::vector<std::byte> table(region_table_size);
        CROFT_DISK_TRY(store.read(offset, table));
        replay.lay_over(offset, table);
        const std::string defect = defect_of(table);
        if (defect.empty())
            return parse(store, header, table, offset);
        defects += (defects.empty() ? "" : "; ") + defect;
    }
    return std::unexpected(Error::corrupt(
        store.name(), region_table_offsets[0], "neither region table is valid: " + defects));
}

std::vector<Regions::Region> Regions::unknown() const {
    std::vector<Region> found;
    std::ranges::copy_if(all, std::back_inserter(found), [](const Region& region) {
        return region.guid != bat_region && region.guid != metadata_region;
    });
    return found;
}

std::vector<std::byte> make_region_table(std::span<const Regions::Region> regions) {
    std::vector<std::byte> table(region_table_size);
    save(table, 0,
        RegionTableHeader{region_table_signature, std::uint32_t{0},
            static_cast<std::uint32_t>(regions.size()), std::uint32_t{0}});
    std::size_t at = sizeof(RegionTableHeader);
    for (const Regions::Region& region : regions) {
        save(table, at,
            RegionTableEntry{region.guid, region.offset, region.length,
                std::uint32_t{region.required ? 1U : 0U}});
        at += sizeof(RegionTableEntry);
    }
    seal_region_table(table);
    return table;
}

} // namespace croft::disk::vhdx
