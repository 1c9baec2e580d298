// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/crc32c.hpp"
#include "disk/utf16.hpp"
#include "disk/vhdx/layout.hpp"
#include "disk/vhdx/metadata.hpp"
#include "disk/vhdx/regions.hpp"
#include "tests/disk/images.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace croft::disk::test {

// A VHDX put together by hand, in the layout that Windows gives it and this library does not:
// blocks of 32 MiB, tables wherever, padding in between, a log with entries of others, items and
// regions that the specification allows and does not name. Field by field from [MS-VHDX].
class WindowsVhdx {
public:
    struct Item {
        Guid id;
        std::vector<std::byte> bytes;
        std::uint32_t flags = 0;
    };
    struct Region {
        Guid guid;
        std::uint64_t offset = 0;
        std::uint32_t length = 0;
        bool required = false;
    };
    struct Page {
        std::uint64_t target;
        std::vector<std::byte> bytes; // 4 KiB; empty: `zeros` bytes of zeros instead
        std::uint64_t zeros = 0;
    };

    std::uint64_t size = 127ULL << 30U;
    std::uint32_t block_size = 32U << 20U;
    std::uint32_t sector_size = 512;
    std::uint32_t flags = 0;
    std::uint64_t log_offset = vhdx::mebibyte;
    std::uint32_t log_length = vhdx::mebibyte;
    std::uint64_t bat_at = 8 * vhdx::mebibyte; // not right after what is before it
    std::uint64_t metadata_at = 3 * vhdx::mebibyte;
    std::uint64_t file_size = 16 * vhdx::mebibyte;
    std::uint16_t version = 1;
    std::map<std::uint64_t, std::uint64_t> entries; // of the block allocation table
    std::vector<Item> items;                        // besides those that have to be there
    std::vector<Region> regions;
    Guid data_write_guid = Guid::parse("11111111-2222-3333-4444-555555555555").value();
    Guid log_guid{};

    std::uint64_t chunk_ratio() const { return vhdx::sectors_per_chunk * sector_size / block_size; }
    // "2.5": after each chunk's payload entries comes its bitmap entry.
    std::uint64_t payload_entry(std::uint64_t block) const {
        return block / chunk_ratio() * (chunk_ratio() + 1) + block % chunk_ratio();
    }
    std::uint64_t bitmap_entry(std::uint64_t chunk) const {
        return chunk * (chunk_ratio() + 1) + chunk_ratio();
    }

    // Into a file of the folder, which payload can then be written to.
    SparseBytes& write(MemoryFolder& folder, const std::string& name = "disk") const {
        SparseBytes& file = folder.file(name)->bytes;
        file.resize(file_size);
        vhdx::FileIdentifier identifier{};
        identifier.signature = vhdx::file_signature;
        std::ranges::copy(
            utf16_from_utf8("Microsoft Windows 10.0.20348.0"), identifier.creator.begin());
        file.write(0, bytes_of(identifier));
        write_headers(file, 7);
        write_regions(file);
        write_metadata(file);
        for (const auto& [index, entry] : entries)
            file.write(bat_at + index * 8, bytes_of(Little<std::uint64_t>{entry}));
        return file;
    }

    // The second header is the current one.
    void write_headers(SparseBytes& file, std::uint64_t sequence) const {
        for (std::size_t i = 0; i < 2; ++i) {
            vhdx::Header header{};
            header.signature = vhdx::header_signature;
            header.sequence_number = sequence + i;
            header.file_write_guid = Guid::parse("99999999-2222-3333-4444-555555555555").value();
            header.data_write_guid = data_write_guid;
            if (i == 1)
                header.log_guid = log_guid;
            header.version = version;
            header.log_length = log_length;
            header.log_offset = log_offset;
            header.checksum = crc32c(0, bytes_of(header));
            file.write(vhdx::header_offsets[i], bytes_of(header));
        }
    }

    // One entry of the log at `position` within it, going round its end; answers the position after
    // it. The tail is where the sequence begins.
    std::uint32_t write_log_entry(SparseBytes& file, std::uint32_t position, std::uint32_t tail,
        std::uint64_t sequence, const std::vector<Page>& pages, std::uint64_t last_file_offset,
        bool whole = true) const {
        const auto data = static_cast<std::size_t>(
            std::ranges::count_if(pages, [](const Page& page) { return !page.bytes.empty(); }));
        const std::size_t area = (sizeof(vhdx::LogEntryHeader) + pages.size() * 32 + 4095) / 4096;
        std::vector<std::byte> entry((area + data) * 4096);
        std::size_t sector = area * 4096;
        for (std::size_t i = 0; i < pages.size(); ++i) {
            const std::size_t at = sizeof(vhdx::LogEntryHeader) + i * 32;
            const Page& page = pages[i];
            if (page.bytes.empty()) {
                vhdx::ZeroDescriptor zero;
                zero.signature = vhdx::zero_descriptor_signature;
                zero.zero_length = page.zeros;
                zero.file_offset = page.target;
                zero.sequence_number = sequence;
                save(entry, at, zero);
                continue;
            }
            vhdx::DataDescriptor descriptor;
            descriptor.signature = vhdx::data_descriptor_signature;
            descriptor.leading_bytes = load<Little<std::uint64_t>>(page.bytes);
            descriptor.trailing_bytes = load<Little<std::uint32_t>>(page.bytes, 4092);
            descriptor.file_offset = page.target;
            descriptor.sequence_number = sequence;
            save(entry, at, descriptor);
            vhdx::DataSector copy;
            copy.signature = vhdx::data_sector_signature;
            copy.sequence_high = static_cast<std::uint32_t>(sequence >> 32U);
            copy.sequence_low = static_cast<std::uint32_t>(sequence);
            copy.data = load<decltype(copy.data)>(page.bytes, 8);
            save(entry, sector, copy);
            sector += 4096;
        }
        vhdx::LogEntryHeader header{};
        header.signature = vhdx::log_entry_signature;
        header.entry_length = static_cast<std::uint32_t>(entry.size());
        header.tail = tail;
        header.sequence_number = sequence;
        header.descriptor_count = static_cast<std::uint32_t>(pages.size());
        header.log_guid = log_guid;
        header.flushed_file_offset = file_size;
        header.last_file_offset = last_file_offset;
        save(entry, 0, header);
        header.checksum = crc32c(0, entry) ^ (whole ? 0U : 1U);
        save(entry, 0, header);
        for (std::size_t at = 0; at < entry.size(); at += 4096)
            file.write(
                log_offset + (position + at) % log_length, std::span{entry}.subspan(at, 4096));
        return static_cast<std::uint32_t>((position + entry.size()) % log_length);
    }

private:
    void write_regions(SparseBytes& file) const {
        std::vector<std::byte> table(vhdx::region_table_size);
        std::vector<Region> all = regions; // others first
        const std::uint64_t blocks = (size + block_size - 1) / block_size;
        const std::uint64_t bat_length =
            ((payload_entry(blocks) + 1 + chunk_ratio()) * 8 + vhdx::mebibyte) / vhdx::mebibyte *
            vhdx::mebibyte;
        all.push_back({vhdx::metadata_region, metadata_at, vhdx::mebibyte, true});
        all.push_back({vhdx::bat_region, bat_at, static_cast<std::uint32_t>(bat_length), true});
        vhdx::RegionTableHeader header{};
        header.signature = vhdx::region_table_signature;
        header.entry_count = static_cast<std::uint32_t>(all.size());
        save(table, 0, header);
        for (std::size_t i = 0; i < all.size(); ++i)
            save(table, 16 + i * 32,
                vhdx::RegionTableEntry{all[i].guid, all[i].offset, all[i].length,
                    std::uint32_t{all[i].required ? 1U : 0U}});
        header.checksum = crc32c(0, table);
        save(table, 0, header);
        for (const std::uint64_t offset : vhdx::region_table_offsets)
            file.write(offset, table);
    }

    // Items with gaps between them, the last first.
    void write_metadata(SparseBytes& file) const {
        const vhdx::FileParameters parameters{block_size, flags};
        const Little<std::uint64_t> disk_size{size};
        const Little<std::uint32_t> logical{sector_size};
        const Little<std::uint32_t> physical{4096U};
        const Guid id = Guid::parse("77777777-2222-3333-4444-555555555555").value();
        std::vector<Item> all = items;
        const auto add = [&all](const Guid& item, std::span<const std::byte> bytes, unsigned how) {
            all.push_back({item, {bytes.begin(), bytes.end()}, how});
        };
        add(vhdx::file_parameters_item, bytes_of(parameters), vhdx::metadata_is_required);
        for (const auto& [item, bytes] :
            {std::pair{vhdx::virtual_disk_size_item, bytes_of(disk_size)},
                std::pair{vhdx::logical_sector_size_item, bytes_of(logical)},
                std::pair{vhdx::physical_sector_size_item, bytes_of(physical)},
                std::pair{vhdx::virtual_disk_id_item, bytes_of(id)}})
            add(item, bytes, vhdx::metadata_is_required | vhdx::metadata_is_virtual_disk);
        vhdx::MetadataTableHeader header{};
        header.signature = vhdx::metadata_signature;
        header.entry_count = static_cast<std::uint16_t>(all.size());
        file.write(metadata_at, bytes_of(header));
        std::uint32_t place = vhdx::metadata_table_size + 4096;
        for (std::size_t i = all.size(); i-- > 0;) {
            const auto length = static_cast<std::uint32_t>(all[i].bytes.size());
            file.write(metadata_at + 32 + i * 32,
                bytes_of(vhdx::MetadataTableEntry{
                    all[i].id, length != 0 ? place : 0, length, all[i].flags, std::uint32_t{0}}));
            file.write(metadata_at + place, all[i].bytes);
            place += length + 100;
        }
    }
};

} // namespace croft::disk::test
