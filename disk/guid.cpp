// SPDX-License-Identifier: Apache-2.0
#include "disk/guid.hpp"

#include <random>

namespace croft::disk {

namespace {

// Which byte the digits show, from left to right.
constexpr std::array<std::uint8_t, 16> printed_order{
    3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

constexpr bool dash_before(std::size_t position) {
    return position == 4 || position == 6 || position == 8 || position == 10;
}

std::optional<std::uint8_t> digit_value(char digit) {
    if (digit >= '0' && digit <= '9')
        return static_cast<std::uint8_t>(digit - '0');
    if (digit >= 'a' && digit <= 'f')
        return static_cast<std::uint8_t>(digit - 'a' + 10);
    if (digit >= 'A' && digit <= 'F')
        return static_cast<std::uint8_t>(digit - 'A' + 10);
    return std::nullopt;
}

} // namespace

std::string Guid::text() const {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (std::size_t i = 0; i < printed_order.size(); ++i) {
        if (dash_before(i))
            text += '-';
        text += digits[bytes[printed_order[i]] >> 4U];
        text += digits[bytes[printed_order[i]] & 15U];
    }
    return text;
}

std::optional<Guid> Guid::parse(std::string_view text) {
    if (text.size() == 38 && text.front() == '{' && text.back() == '}')
        text = text.substr(1, 36);
    if (text.size() != 36)
        return std::nullopt;
    Guid guid;
    std::size_t at = 0;
    for (std::size_t i = 0; i < printed_order.size(); ++i) {
        if (dash_before(i) && text[at++] != '-')
            return std::nullopt;
        const auto high = digit_value(text[at++]);
        const auto low = digit_value(text[at++]);
        if (!high || !low)
            return std::nullopt;
        guid.bytes[printed_order[i]] = static_cast<std::uint8_t>(*high << 4U | *low);
    }
    return guid;
}

Guid Guid::random() {
    thread_local std::random_device device;
    Guid guid;
    for (std::size_t i = 0; i < guid.bytes.size(); i += 4) {
        const std::uint32_t word = device();
        for (std::size_t k = 0; k < 4; ++k)
            guid.bytes[i + k] = static_cast<std::uint8_t>(word >> (8 * k));
    }
    guid.bytes[7] = static_cast<std::uint8_t>((guid.bytes[7] & 0x0fU) | 0x40U);
    guid.bytes[8] = static_cast<std::uint8_t>((guid.bytes[8] & 0x3fU) | 0x80U);
    return guid;
}

} // namespace croft::disk
