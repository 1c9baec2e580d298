// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/guid.hpp"
#include "disk/stored.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

// The layout of a VHD file, as "Virtual Hard Disk Image Format Specification" (version 1.0,
// Microsoft 2006) describes it. Integers are big endian; sectors have 512 bytes.
namespace croft::disk::vhd {

inline constexpr std::uint32_t sector_size = 512;
inline constexpr std::uint64_t gibibyte = 1U << 30U;
// "2040 GB", the specification's largest disk.
inline constexpr std::uint64_t disk_size_max = 2040 * gibibyte;

inline constexpr std::array<char, 8> footer_cookie{'c', 'o', 'n', 'e', 'c', 't', 'i', 'x'};
inline constexpr std::array<char, 8> header_cookie{'c', 'x', 's', 'p', 'a', 'r', 's', 'e'};
inline constexpr std::uint32_t supported_version = 0x00010000;
inline constexpr std::uint64_t no_offset = ~std::uint64_t{0};
inline constexpr std::uint32_t unused_block = ~std::uint32_t{0};

enum class DiskType : std::uint32_t { fixed = 2, dynamic = 3, differencing = 4 };

// "Hard Disk Footer Format": in the last 512 bytes; of dynamic and differencing disks a copy is in
// the first 512.
struct Footer {
    std::array<char, 8> cookie;
    Big<std::uint32_t> features; // the reserved bit, 2, is always set
    Big<std::uint32_t> file_format_version;
    Big<std::uint64_t> data_offset; // of the dynamic disk header
    Big<std::uint32_t> time_stamp;  // seconds since 2000-01-01 00:00 UTC
    std::array<char, 4> creator_application;
    Big<std::uint32_t> creator_version;
    std::array<char, 4> creator_host_os;
    Big<std::uint64_t> original_size;
    Big<std::uint64_t> current_size;
    Big<std::uint16_t> cylinders;
    std::uint8_t heads;
    std::uint8_t sectors_per_track;
    Big<std::uint32_t> disk_type;
    Big<std::uint32_t> checksum; // complement of the sum of all bytes, this field taken as zero
    Guid unique_id;
    std::uint8_t saved_state;
    std::array<std::byte, 427> reserved;
};
static_assert(sizeof(Footer) == sector_size);

// "Parent Locator Entries"
struct ParentLocator {
    Big<std::uint32_t> platform_code;
    Big<std::uint32_t> platform_data_space;  // sectors, but bytes in many files
    Big<std::uint32_t> platform_data_length; // bytes
    Big<std::uint32_t> reserved;
    Big<std::uint64_t> platform_data_offset;
};
static_assert(sizeof(ParentLocator) == 24);
inline constexpr std::uint32_t platform_relative = 0x57327275; // "W2ru": relative path, UTF-16 LE
inline constexpr std::uint32_t platform_absolute = 0x57326b75; // "W2ku": absolute path, UTF-16 LE

// "Dynamic Disk Header Format"
struct DynamicHeader {
    std::array<char, 8> cookie;
    Big<std::uint64_t> data_offset;
    Big<std::uint64_t> table_offset;
    Big<std::uint32_t> header_version;
    Big<std::uint32_t> max_table_entries;
    Big<std::uint32_t> block_size; // bytes of data; a bitmap of the sectors is before them
    Big<std::uint32_t> checksum;
    Guid parent_unique_id;
    Big<std::uint32_t> parent_time_stamp;
    Big<std::uint32_t> reserved;
    std::array<std::byte, 512> parent_name; // UTF-16 BE
    std::array<ParentLocator, 8> parent_locators;
    std::array<std::byte, 256> reserved2;
};
static_assert(sizeof(DynamicHeader) == 1024);

// The checksum of a footer or a dynamic header; the structure with it in place.
template <class Structure>
Structure sealed(Structure structure) {
    structure.checksum = 0;
    std::uint32_t sum = 0;
    for (const std::byte byte : bytes_of(structure))
        sum += std::to_integer<std::uint32_t>(byte);
    structure.checksum = ~sum;
    return structure;
}

// A host's page. The format asks for sectors only; a block's payload may lie better than that.
inline constexpr std::uint64_t payload_alignment = 4096;

// Bytes of a block's sector bitmap: whole sectors.
constexpr std::uint64_t bitmap_length(std::uint64_t block_size) {
    const std::uint64_t bytes = block_size / sector_size / 8;
    return (bytes + sector_size - 1) / sector_size * sector_size;
}

} // namespace croft::disk::vhd
