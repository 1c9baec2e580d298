// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

namespace croft::vmbus {

/// A GUID as it is in messages: the first three fields little endian, the rest as written.
struct Guid {
    std::array<std::uint8_t, 16> bytes{};

    friend constexpr auto operator<=>(const Guid&, const Guid&) = default;

    /// From the fields as specifications print them.
    static constexpr Guid of(std::uint32_t first, std::uint16_t second, std::uint16_t third,
        std::array<std::uint8_t, 8> rest) {
        Guid guid;
        for (std::size_t i = 0; i < 4; ++i) {
            guid.bytes[i] = static_cast<std::uint8_t>(first >> (8 * i));
        }
        for (std::size_t i = 0; i < 2; ++i) {
            guid.bytes[4 + i] = static_cast<std::uint8_t>(second >> (8 * i));
            guid.bytes[6 + i] = static_cast<std::uint8_t>(third >> (8 * i));
        }
        for (std::size_t i = 0; i < 8; ++i) {
            guid.bytes[8 + i] = rest[i];
        }
        return guid;
    }
};

} // namespace croft::vmbus
