// SPDX-License-Identifier: Apache-2.0
#include "tests/disk/tables.hpp"

#include "disk/utf16.hpp"
#include "disk/volume/crc32.hpp"
#include "disk/volume/layout.hpp"

#include <algorithm>

namespace croft::disk::test {

using namespace volume;

namespace {

constexpr std::uint32_t entry_count = 128;

} // namespace

void put_mbr_entry(SparseBytes& disk, std::uint64_t record_offset, unsigned index,
    std::uint8_t type, Sectors sectors) {
    MbrEntry entry{};
    entry.type = type;
    entry.start = static_cast<std::uint32_t>(sectors.first);
    entry.count = static_cast<std::uint32_t>(sectors.count);
    disk.write(record_offset + offsetof(Mbr, entries) + index * sizeof entry, bytes_of(entry));
    const Little<std::uint16_t> magic{mbr_magic};
    disk.write(record_offset + offsetof(Mbr, magic), bytes_of(magic));
}

void seal_gpt(SparseBytes& disk, std::uint64_t header_offset) {
    GptHeader header{};
    disk.read(header_offset, std::as_writable_bytes(std::span{&header, 1}));
    // Lengths and places as the fuzzer made them: bounded here as in the code under test.
    const std::uint64_t bytes = std::uint64_t{header.entry_count} * header.entry_size;
    const std::uint64_t sector_size = header_offset / std::max<std::uint64_t>(header.my_lba, 1);
    if (bytes <= gpt_entries_bytes_max) {
        std::vector<std::byte> entries(static_cast<std::size_t>(bytes));
        disk.read(header.entries_lba * sector_size, entries);
        header.entries_crc = crc32(entries);
    }
    header.header_crc = 0;
    disk.write(header_offset, bytes_of(header));
    const std::size_t size = std::clamp<std::size_t>(header.header_size, sizeof header, 4096);
    std::vector<std::byte> whole(size);
    disk.read(header_offset, whole);
    header.header_crc = crc32(whole);
    disk.write(header_offset, bytes_of(header));
}

void put_gpt(SparseBytes& disk, std::uint64_t sectors, const std::vector<Sectors>& partitions,
    std::uint64_t sector_size) {
    disk.resize(sectors * sector_size);
    put_mbr_entry(disk, 0, 0, mbr_type_protective, {1, sectors - 1});
    const std::uint64_t table_sectors = entry_count * sizeof(GptEntry) / sector_size;
    const auto linux_data = Guid::parse("0fc63daf-8483-4772-8e79-3d69d8477de4").value();
    for (const bool backup : {false, true}) {
        const std::uint64_t lba = backup ? sectors - 1 : 1;
        const std::uint64_t entries_lba = backup ? lba - table_sectors : 2;
        for (std::size_t i = 0; i < partitions.size(); ++i) {
            GptEntry entry{};
            entry.type = linux_data;
            entry.id.bytes[15] = static_cast<std::uint8_t>(i + 1);
            entry.first_lba = partitions[i].first;
            entry.last_lba = partitions[i].first + partitions[i].count - 1;
            std::ranges::copy(utf16_from_utf8("part " + std::to_string(i + 1)), entry.name.begin());
            disk.write(entries_lba * sector_size + i * sizeof entry, bytes_of(entry));
        }
        GptHeader header{};
        header.signature = gpt_signature;
        header.revision = 0x10000;
        header.header_size = sizeof header;
        header.my_lba = lba;
        header.alternate_lba = backup ? 1 : sectors - 1;
        header.first_usable_lba = 2 + table_sectors;
        header.last_usable_lba = sectors - 2 - table_sectors;
        header.disk_id.bytes[0] = 0xd1;
        header.entries_lba = entries_lba;
        header.entry_count = entry_count;
        header.entry_size = sizeof(GptEntry);
        disk.write(lba * sector_size, bytes_of(header));
        seal_gpt(disk, lba * sector_size);
    }
}

} // namespace croft::disk::test
