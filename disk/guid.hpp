// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace croft::disk {

// A GUID in the byte order that Microsoft's structures keep it in: the first three fields little
// endian, the rest as written.
struct Guid {
    std::array<std::uint8_t, 16> bytes{};

    friend bool operator==(const Guid&, const Guid&) = default;
    bool is_zero() const { return *this == Guid{}; }

    // "2dc27766-f623-4200-9d64-115e9bfd4a08"
    std::string text() const;
    // Takes it with or without braces, in either case.
    static std::optional<Guid> parse(std::string_view text);
    static Guid random(); // version 4

    // From the fields as specifications print them.
    static constexpr Guid of(
        std::uint32_t a, std::uint16_t b, std::uint16_t c, std::array<std::uint8_t, 8> rest) {
        Guid guid;
        for (unsigned i = 0; i < 4; ++i)
            guid.bytes[i] = static_cast<std::uint8_t>(a >> (8 * i));
        for (unsigned i = 0; i < 2; ++i) {
            guid.bytes[4 + i] = static_cast<std::uint8_t>(b >> (8 * i));
            guid.bytes[6 + i] = static_cast<std::uint8_t>(c >> (8 * i));
        }
        for (unsigned i = 0; i < 8; ++i)
            guid.bytes[8 + i] = rest[i];
        return guid;
    }
};

} // namespace croft::disk
