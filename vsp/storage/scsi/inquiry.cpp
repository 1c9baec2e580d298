// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/scsi/inquiry.hpp"

#include "vsp/storage/scsi/big_endian.hpp"
#include "vsp/storage/scsi/codes.hpp"
#include "vsp/storage/scsi/limits.hpp"

#include <algorithm>
#include <cstddef>

namespace croft::vsp::storage::scsi {

namespace {

// The vendor that Linux's driver looks for before it takes a disk for a modern one (storvsc_drv.c,
// storvsc_sdev_configure).
constexpr std::string_view vendor = "Msft    ";

void put_text(std::span<std::uint8_t> field, std::string_view text) {
    std::ranges::fill(field, std::uint8_t{' '});
    std::ranges::copy(text.substr(0, field.size()), field.begin());
}

/// A page with its header; `size` is that of what follows.
std::vector<std::uint8_t> page_of(std::uint8_t type, VpdPage page, std::size_t size) {
    std::vector<std::uint8_t> bytes(4 + size);
    bytes[0] = type;
    bytes[1] = static_cast<std::uint8_t>(page);
    put_be(bytes, 2, 2, size);
    return bytes;
}

} // namespace

std::vector<std::uint8_t> standard_inquiry(
    std::uint8_t type, bool removable, std::string_view product) {
    std::vector<std::uint8_t> bytes(36);
    bytes[0] = type;
    bytes[1] = removable ? 0x80 : 0x00;
    bytes[2] = 0x06; // SPC-4
    bytes[3] = 0x02; // the format of this
    bytes[4] = static_cast<std::uint8_t>(bytes.size() - 5);
    bytes[7] = 0x02; // CMDQUE
    const std::span<std::uint8_t> all(bytes);
    put_text(all.subspan(8, 8), vendor);
    put_text(all.subspan(16, 16), product);
    put_text(all.subspan(32, 4), "1.0");
    return bytes;
}

std::vector<std::uint8_t> supported_pages(std::uint8_t type, std::span<const VpdPage> pages) {
    std::vector<std::uint8_t> bytes = page_of(type, VpdPage::supported_pages, pages.size());
    std::ranges::transform(
        pages, bytes.begin() + 4, [](VpdPage page) { return static_cast<std::uint8_t>(page); });
    return bytes;
}

std::vector<std::uint8_t> unit_serial_number(std::uint8_t type, const Identity& identity) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string serial = identity.serial;
    for (std::size_t i = 0; identity.serial.empty() && i < identity.bytes.size(); ++i) {
        serial += digits[identity.bytes[i] >> 4];
        serial += digits[identity.bytes[i] & 0xf];
    }
    std::vector<std::uint8_t> bytes = page_of(type, VpdPage::unit_serial_number, serial.size());
    std::ranges::copy(serial, bytes.begin() + 4);
    return bytes;
}

std::vector<std::uint8_t> device_identification(std::uint8_t type, const Identity& identity) {
    // One designator: NAA 6 with Microsoft's company identifier, 00-22-48, and as much of the
    // identity as it has room for (SPC-4 7.8.6.6.5).
    constexpr std::size_t naa_size = 16;
    std::vector<std::uint8_t> bytes = page_of(type, VpdPage::device_identification, 4 + naa_size);
    bytes[4] = 0x01; // binary
    bytes[5] = 0x03; // of the logical unit, an NAA
    bytes[7] = naa_size;
    put_be(bytes, 8, 4, 0x60022480);
    std::ranges::copy(std::span(identity.bytes).first(naa_size - 4), bytes.begin() + 12);
    return bytes;
}

std::vector<std::uint8_t> block_limits(const disk::Geometry& geometry) {
    const std::uint32_t block = geometry.logical_sector_size;
    std::vector<std::uint8_t> bytes = page_of(type_block, VpdPage::block_limits, 0x3c);
    bytes[4] = 0x01; // WSNZ: WRITE SAME says how many blocks it means
    put_be(bytes, 6, 2, geometry.physical_sector_size / block);
    put_be(bytes, 8, 4, largest_transfer / block);
    if (is_thin(geometry)) {
        put_be(bytes, 20, 4, 0xffffffff); // no limit
        put_be(bytes, 24, 4, most_unmap_ranges);
        put_be(bytes, 28, 4, geometry.discard_granularity / block);
        put_be(bytes, 32, 4, 0x80000000); // UGAVALID, aligned at 0
    }
    put_be(bytes, 36, 8, largest_write_same);
    return bytes;
}

std::vector<std::uint8_t> block_device_characteristics() {
    std::vector<std::uint8_t> bytes =
        page_of(type_block, VpdPage::block_device_characteristics, 0x3c);
    put_be(bytes, 4, 2, 0x0001); // nothing rotates
    return bytes;
}

std::vector<std::uint8_t> logical_block_provisioning(const disk::Geometry& geometry) {
    std::vector<std::uint8_t> bytes = page_of(type_block, VpdPage::logical_block_provisioning, 4);
    if (is_thin(geometry)) {
        // UNMAP, and WRITE SAME (16) and (10) with it. LBPRZ isn't claimed: a range that is
        // unmapped in part may keep its contents.
        bytes[5] = 0x80 | 0x40 | 0x20;
        bytes[6] = 0x02; // thin
    }
    return bytes;
}

} // namespace croft::vsp::storage::scsi
