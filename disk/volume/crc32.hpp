// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace croft::disk {

// CRC-32 (ISO 3309, reflected, 0xedb88320), as GPT headers use it.
inline std::uint32_t crc32(std::span<const std::byte> bytes) {
    static constexpr auto table = [] {
        std::array<std::uint32_t, 256> made{};
        for (std::uint32_t i = 0; i < made.size(); ++i) {
            std::uint32_t value = i;
            for (unsigned bit = 0; bit < 8; ++bit)
                value = (value & 1U) != 0 ? value >> 1U ^ 0xedb88320U : value >> 1U;
            made[i] = value;
        }
        return made;
    }();
    std::uint32_t crc = ~0U;
    for (const std::byte byte : bytes)
        crc = crc >> 8U ^ table[(crc ^ static_cast<std::uint32_t>(byte)) & 0xffU];
    return ~crc;
}

} // namespace croft::disk
