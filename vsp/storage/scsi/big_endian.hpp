// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace croft::vsp::storage::scsi {

/// The number in the `size` bytes from `offset`, which are there.
[[nodiscard]] constexpr std::uint64_t get_be(
    std::span<const std::uint8_t> bytes, std::size_t offset, std::size_t size) {
    std::uint64_t value = 0;
    for (const std::uint8_t byte : bytes.subspan(offset, size)) {
        value = value << 8 | byte;
    }
    return value;
}

constexpr void put_be(
    std::span<std::uint8_t> bytes, std::size_t offset, std::size_t size, std::uint64_t value) {
    for (std::size_t i = size; i-- > 0; value >>= 8) {
        bytes[offset + i] = static_cast<std::uint8_t>(value);
    }
}

} // namespace croft::vsp::storage::scsi
