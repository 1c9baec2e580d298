// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/guid.hpp"
#include "disk/stored.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

// Partition tables as they lie on a disk: UEFI Specification 2.10, chapter 5.
namespace croft::disk::volume {

// 5.2.1: the legacy master boot record; an extended one has the same form.
struct MbrEntry {
    std::uint8_t status; // 0x80 bootable, 0x00 not; nothing else is an entry
    std::array<std::uint8_t, 3> first_chs;
    std::uint8_t type;
    std::array<std::uint8_t, 3> last_chs;
    Little<std::uint32_t> start; // sectors
    Little<std::uint32_t> count; // sectors
};
static_assert(sizeof(MbrEntry) == 16);

struct Mbr {
    std::array<std::byte, 440> code;
    Little<std::uint32_t> signature;
    std::array<std::byte, 2> unknown;
    std::array<MbrEntry, 4> entries;
    Little<std::uint16_t> magic;
};
static_assert(sizeof(Mbr) == 512);

inline constexpr std::uint16_t mbr_magic = 0xaa55;
inline constexpr std::uint8_t mbr_type_protective = 0xee;

constexpr bool is_extended(std::uint8_t type) {
    return type == 0x05 || type == 0x0f || type == 0x85;
}

// 5.3.2
struct GptHeader {
    Little<std::uint64_t> signature;
    Little<std::uint32_t> revision;
    Little<std::uint32_t> header_size; // bytes that header_crc is over
    Little<std::uint32_t> header_crc;  // computed with this field 0
    Little<std::uint32_t> reserved;
    Little<std::uint64_t> my_lba;
    Little<std::uint64_t> alternate_lba;
    Little<std::uint64_t> first_usable_lba;
    Little<std::uint64_t> last_usable_lba;
    Guid disk_id;
    Little<std::uint64_t> entries_lba;
    Little<std::uint32_t> entry_count;
    Little<std::uint32_t> entry_size; // bytes
    Little<std::uint32_t> entries_crc;
};
static_assert(sizeof(GptHeader) == 92);

inline constexpr std::uint64_t gpt_signature = 0x5452415020494645ULL; // "EFI PART"

// 5.3.3
struct GptEntry {
    Guid type; // zeros: not in use
    Guid id;
    Little<std::uint64_t> first_lba;
    Little<std::uint64_t> last_lba; // inclusive
    Little<std::uint64_t> attributes;
    std::array<std::byte, 72> name; // UTF-16, little endian
};
static_assert(sizeof(GptEntry) == 128);

inline constexpr std::uint64_t gpt_attribute_legacy_boot = 1U << 2U;

// The specification asks for room for 128 entries of 128 bytes; this is 64 times as much.
inline constexpr std::uint64_t gpt_entries_bytes_max = 1U << 20U;

} // namespace croft::disk::volume
