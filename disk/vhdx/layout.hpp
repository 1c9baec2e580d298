// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/guid.hpp"
#include "disk/stored.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

// The layout of a VHDX file, section by section as [MS-VHDX] (version 8) describes it. All integers
// are little endian.
namespace croft::disk::vhdx {

inline constexpr std::uint64_t kibibyte = 1024;
inline constexpr std::uint64_t mebibyte = 1024 * kibibyte;
inline constexpr std::uint64_t tebibyte = mebibyte * mebibyte;

// 2.2 Header section: five structures of 64 KiB each, then what the region table names.
inline constexpr std::uint64_t file_identifier_offset = 0;
inline constexpr std::array<std::uint64_t, 2> header_offsets{64 * kibibyte, 128 * kibibyte};
inline constexpr std::array<std::uint64_t, 2> region_table_offsets{192 * kibibyte, 256 * kibibyte};
inline constexpr std::uint64_t header_section_size = mebibyte;

inline constexpr std::uint64_t file_signature = 0x656c696678646876;     // "vhdxfile"
inline constexpr std::uint32_t header_signature = 0x64616568;           // "head"
inline constexpr std::uint32_t region_table_signature = 0x69676572;     // "regi"
inline constexpr std::uint32_t log_entry_signature = 0x65676f6c;        // "loge"
inline constexpr std::uint32_t data_descriptor_signature = 0x63736564;  // "desc"
inline constexpr std::uint32_t zero_descriptor_signature = 0x6f72657a;  // "zero"
inline constexpr std::uint32_t data_sector_signature = 0x61746164;      // "data"
inline constexpr std::uint64_t metadata_signature = 0x617461646174656d; // "metadata"

// 2.2.1
struct FileIdentifier {
    Little<std::uint64_t> signature;
    std::array<std::byte, 512> creator; // UTF-16, NUL-terminated
};
static_assert(sizeof(FileIdentifier) == 520);

// 2.2.2; the checksum is over these 4 KiB with the field itself zero.
struct Header {
    Little<std::uint32_t> signature;
    Little<std::uint32_t> checksum;
    Little<std::uint64_t> sequence_number;
    Guid file_write_guid;
    Guid data_write_guid;
    Guid log_guid; // zero: the log is empty
    Little<std::uint16_t> log_version;
    Little<std::uint16_t> version;
    Little<std::uint32_t> log_length;
    Little<std::uint64_t> log_offset;
    std::array<std::byte, 4016> reserved;
};
static_assert(sizeof(Header) == 4096);
inline constexpr std::uint16_t supported_version = 1;
inline constexpr std::uint16_t supported_log_version = 0;

// 2.2.3; the checksum is over 64 KiB.
inline constexpr std::uint32_t region_table_size = 64 * kibibyte;
inline constexpr std::uint32_t region_entries_max = 2047;
struct RegionTableHeader {
    Little<std::uint32_t> signature;
    Little<std::uint32_t> checksum;
    Little<std::uint32_t> entry_count;
    Little<std::uint32_t> reserved;
};
struct RegionTableEntry {
    Guid guid;
    Little<std::uint64_t> file_offset;
    Little<std::uint32_t> length;
    Little<std::uint32_t> required; // bit 0
};
static_assert(sizeof(RegionTableHeader) == 16 && sizeof(RegionTableEntry) == 32);
inline constexpr Guid bat_region =
    Guid::of(0x2dc27766, 0xf623, 0x4200, {0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08});
inline constexpr Guid metadata_region =
    Guid::of(0x8b7ca206, 0x4790, 0x4b9a, {0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e});

// 2.3 Log
inline constexpr std::uint32_t log_sector_size = 4096;
struct LogEntryHeader {
    Little<std::uint32_t> signature;
    Little<std::uint32_t> checksum; // over the whole entry
    Little<std::uint32_t> entry_length;
    Little<std::uint32_t> tail; // where in the log the sequence begins
    Little<std::uint64_t> sequence_number;
    Little<std::uint32_t> descriptor_count;
    Little<std::uint32_t> reserved;
    Guid log_guid;
    Little<std::uint64_t> flushed_file_offset; // the file was durable up to here
    Little<std::uint64_t> last_file_offset;    // all allocated structures fit in this size
};
struct DataDescriptor {
    Little<std::uint32_t> signature;
    Little<std::uint32_t> trailing_bytes; // the last 4 of the sector
    Little<std::uint64_t> leading_bytes;  // its first 8
    Little<std::uint64_t> file_offset;
    Little<std::uint64_t> sequence_number;
};
struct ZeroDescriptor {
    Little<std::uint32_t> signature;
    Little<std::uint32_t> reserved;
    Little<std::uint64_t> zero_length;
    Little<std::uint64_t> file_offset;
    Little<std::uint64_t> sequence_number;
};
struct DataSector {
    Little<std::uint32_t> signature;
    Little<std::uint32_t> sequence_high;
    std::array<std::byte, 4084> data;
    Little<std::uint32_t> sequence_low;
};
static_assert(sizeof(LogEntryHeader) == 64 && sizeof(DataDescriptor) == 32 &&
    sizeof(ZeroDescriptor) == 32 && sizeof(DataSector) == log_sector_size);

// 2.5 Block allocation table: state in the low 3 bits, offset in MiB from bit 20 on.
inline constexpr std::uint64_t bat_state_mask = 7;
inline constexpr std::uint64_t bat_reserved_mask = 0xffff8;
inline constexpr unsigned bat_offset_shift = 20;
enum class BlockState : std::uint8_t {
    not_present = 0,
    undefined = 1,
    zero = 2,
    unmapped = 3,
    fully_present = 6,
    partially_present = 7,
};
enum class BitmapState : std::uint8_t { not_present = 0, present = 6 };

constexpr std::uint64_t bat_entry(BlockState state, std::uint64_t file_offset) {
    return static_cast<std::uint64_t>(state) | file_offset;
}
constexpr std::uint64_t bat_offset(std::uint64_t entry) {
    return entry >> bat_offset_shift << bat_offset_shift;
}
constexpr std::uint8_t bat_state(std::uint64_t entry) {
    return static_cast<std::uint8_t>(entry & bat_state_mask);
}

// 2.4: a sector bitmap block of 1 MiB covers 2^23 sectors, which is one chunk.
inline constexpr std::uint64_t sectors_per_chunk = 1U << 23U;
inline constexpr std::uint64_t bitmap_block_size = mebibyte;
inline constexpr std::uint64_t block_size_min = mebibyte;
inline constexpr std::uint64_t block_size_max = 256 * mebibyte;
inline constexpr std::uint64_t disk_size_max = 64 * tebibyte;

// 2.6 Metadata region
inline constexpr std::uint32_t metadata_table_size = 64 * kibibyte;
inline constexpr std::uint32_t metadata_entries_max = 2047;
inline constexpr std::uint32_t metadata_item_max = mebibyte;
struct MetadataTableHeader {
    Little<std::uint64_t> signature;
    Little<std::uint16_t> reserved;
    Little<std::uint16_t> entry_count;
    std::array<std::byte, 20> reserved2;
};
struct MetadataTableEntry {
    Guid item_id;
    Little<std::uint32_t> offset; // in the region, at least 64 KiB
    Little<std::uint32_t> length;
    Little<std::uint32_t> flags;
    Little<std::uint32_t> reserved;
};
static_assert(sizeof(MetadataTableHeader) == 32 && sizeof(MetadataTableEntry) == 32);
inline constexpr std::uint32_t metadata_is_user = 1;
inline constexpr std::uint32_t metadata_is_virtual_disk = 2;
inline constexpr std::uint32_t metadata_is_required = 4;

// 2.6.2 Known items
inline constexpr Guid file_parameters_item =
    Guid::of(0xcaa16737, 0xfa36, 0x4d43, {0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b});
inline constexpr Guid virtual_disk_size_item =
    Guid::of(0x2fa54224, 0xcd1b, 0x4876, {0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8});
inline constexpr Guid virtual_disk_id_item =
    Guid::of(0xbeca12ab, 0xb2e6, 0x4523, {0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46});
inline constexpr Guid logical_sector_size_item =
    Guid::of(0x8141bf1d, 0xa96f, 0x4709, {0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f});
inline constexpr Guid physical_sector_size_item =
    Guid::of(0xcda348c7, 0x445d, 0x4471, {0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56});
inline constexpr Guid parent_locator_item =
    Guid::of(0xa8d35f2d, 0xb30b, 0x454d, {0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c});
struct FileParameters {
    Little<std::uint32_t> block_size;
    Little<std::uint32_t> flags;
};
inline constexpr std::uint32_t leave_block_allocated = 1; // a fixed disk
inline constexpr std::uint32_t has_parent = 2;

// 2.6.2.6 Parent locator; offsets are from the item's beginning, texts are UTF-16.
struct ParentLocatorHeader {
    Guid locator_type;
    Little<std::uint16_t> reserved;
    Little<std::uint16_t> key_value_count;
};
struct ParentLocatorEntry {
    Little<std::uint32_t> key_offset;
    Little<std::uint32_t> value_offset;
    Little<std::uint16_t> key_length;
    Little<std::uint16_t> value_length;
};
static_assert(sizeof(ParentLocatorHeader) == 20 && sizeof(ParentLocatorEntry) == 12);
inline constexpr Guid vhdx_locator_type =
    Guid::of(0xb04aefb7, 0xd19e, 0x4a81, {0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13});

} // namespace croft::disk::vhdx
