// SPDX-License-Identifier: Apache-2.0
#include "disk/utf16.hpp"

#include <cstdint>

namespace croft::disk {

namespace {

constexpr char32_t replacement = 0xfffd;

void append_utf8(std::string& text, char32_t code) {
    const auto put = [&text](char32_t byte) {
        text += static_cast<char>(byte);
    };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xc0 | code >> 6U);
        put(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        put(0xe0 | code >> 12U);
        put(0x80 | (code >> 6U & 0x3f));
        put(0x80 | (code & 0x3f));
    } else {
        put(0xf0 | code >> 18U);
        put(0x80 | (code >> 12U & 0x3f));
        put(0x80 | (code >> 6U & 0x3f));
        put(0x80 | (code & 0x3f));
    }
}

// Takes one code point off the front.
char32_t take_utf8(std::string_view& text) {
    const auto byte = [&text](std::size_t i) {
        return static_cast<std::uint8_t>(text[i]);
    };
    const std::uint8_t first = byte(0);
    const std::size_t length = first < 0x80 ? 1
        : first >> 5U == 6                  ? 2
        : first >> 4U == 14                 ? 3
        : first >> 3U == 30                 ? 4
                                            : 0;
    if (length == 0 || text.size() < length) {
        text.remove_prefix(1);
        return replacement;
    }
    char32_t code = length == 1 ? first : first & (0xffU >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0U) != 0x80) {
            text.remove_prefix(1);
            return replacement;
        }
        code = code << 6U | (byte(i) & 0x3fU);
    }
    text.remove_prefix(length);
    return code <= 0x10ffff ? code : replacement;
}

} // namespace

std::string utf8_from_utf16(std::span<const std::byte> bytes, bool big_endian) {
    const auto unit = [&](std::size_t i) -> char32_t {
        const auto first = std::to_integer<char32_t>(bytes[i]);
        const auto second = std::to_integer<char32_t>(bytes[i + 1]);
        return big_endian ? first << 8U | second : second << 8U | first;
    };
    std::string text;
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
        char32_t code = unit(i);
        if (code == 0)
            break;
        if (code >= 0xd800 && code < 0xdc00 && i + 3 < bytes.size() && unit(i + 2) >= 0xdc00 &&
            unit(i + 2) < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10U) + (unit(i + 2) - 0xdc00);
            i += 2;
        } else if (code >= 0xd800 && code < 0xe000) {
            code = replacement;
        }
        append_utf8(text, code);
    }
    return text;
}

std::vector<std::byte> utf16_from_utf8(std::string_view text, bool big_endian) {
    std::vector<std::byte> bytes;
    const auto put = [&](char32_t unit) {
        const auto high = static_cast<std::byte>(unit >> 8U);
        const auto low = static_cast<std::byte>(unit & 0xffU);
        bytes.push_back(big_endian ? high : low);
        bytes.push_back(big_endian ? low : high);
    };
    while (!text.empty()) {
        const char32_t code = take_utf8(text);
        if (code < 0x10000) {
            put(code);
        } else {
            put(0xd800 + ((code - 0x10000) >> 10U));
            put(0xdc00 + ((code - 0x10000) & 0x3ffU));
        }
    }
    return bytes;
}

} // namespace croft::disk
