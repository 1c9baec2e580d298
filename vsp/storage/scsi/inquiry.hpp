// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/disk.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// What INQUIRY answers: the standard data (SPC-4 6.4.2) and the pages of vital product data.
namespace croft::vsp::storage::scsi {

/// Which unit it is: the same over the unit's life, and unique.
struct Identity {
    std::array<std::uint8_t, 16> bytes{};
    /// The serial number, in ASCII; the bytes in hexadecimal if empty.
    std::string serial = {};
};

enum class VpdPage : std::uint8_t {
    supported_pages = 0x00,
    unit_serial_number = 0x80,
    device_identification = 0x83,
    block_limits = 0xb0,
    block_device_characteristics = 0xb1,
    logical_block_provisioning = 0xb2,
};

/// `product` has up to 16 characters.
[[nodiscard]] std::vector<std::uint8_t> standard_inquiry(
    std::uint8_t type, bool removable, std::string_view product);

/// Page 00: the pages that there are, in order.
[[nodiscard]] std::vector<std::uint8_t> supported_pages(
    std::uint8_t type, std::span<const VpdPage> pages);
/// Page 80
[[nodiscard]] std::vector<std::uint8_t> unit_serial_number(
    std::uint8_t type, const Identity& identity);
/// Page 83
[[nodiscard]] std::vector<std::uint8_t> device_identification(
    std::uint8_t type, const Identity& identity);
/// Page B0 (SBC-3 6.6.4)
[[nodiscard]] std::vector<std::uint8_t> block_limits(const disk::Geometry& geometry);
/// Page B1 (SBC-3 6.6.2)
[[nodiscard]] std::vector<std::uint8_t> block_device_characteristics();
/// Page B2 (SBC-3 6.6.6)
[[nodiscard]] std::vector<std::uint8_t> logical_block_provisioning(const disk::Geometry& geometry);

/// The guest may give blocks back.
[[nodiscard]] inline bool is_thin(const disk::Geometry& geometry) {
    return !geometry.read_only && geometry.discard_granularity != 0;
}

} // namespace croft::vsp::storage::scsi
