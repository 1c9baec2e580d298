// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/scsi/capacity.hpp"

#include "vsp/storage/scsi/big_endian.hpp"
#include "vsp/storage/scsi/inquiry.hpp"

#include <algorithm>
#include <bit>

namespace croft::vsp::storage::scsi {

namespace {

std::uint64_t last_block(const disk::Geometry& geometry) {
    const std::uint64_t blocks = geometry.size / geometry.logical_sector_size;
    return blocks != 0 ? blocks - 1 : 0;
}

} // namespace

std::vector<std::uint8_t> capacity_10(const disk::Geometry& geometry) {
    std::vector<std::uint8_t> bytes(8);
    put_be(bytes, 0, 4, std::min<std::uint64_t>(last_block(geometry), 0xffffffff));
    put_be(bytes, 4, 4, geometry.logical_sector_size);
    return bytes;
}

std::vector<std::uint8_t> capacity_16(const disk::Geometry& geometry) {
    std::vector<std::uint8_t> bytes(32);
    put_be(bytes, 0, 8, last_block(geometry));
    put_be(bytes, 8, 4, geometry.logical_sector_size);
    const std::uint32_t ratio = geometry.physical_sector_size / geometry.logical_sector_size;
    bytes[13] = static_cast<std::uint8_t>(std::bit_width(std::max(ratio, 1U)) - 1);
    if (is_thin(geometry)) {
        bytes[14] = 0x80; // LBPME
    }
    return bytes;
}

} // namespace croft::vsp::storage::scsi
