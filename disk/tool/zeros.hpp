// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstring>
#include <span>

namespace croft::disk::tool {

/// What is all zeros is left out of a copy in multiples of so many bytes.
constexpr std::size_t zero_unit = 4096;

inline bool all_zeros(std::span<const std::byte> bytes) {
    // The first bytes decide most cases; the rest is compared with itself, shifted.
    constexpr std::size_t head = 16;
    for (std::size_t i = 0; i < bytes.size() && i < head; ++i) {
        if (bytes[i] != std::byte{0})
            return false;
    }
    return bytes.size() <= head ||
        std::memcmp(bytes.data(), bytes.data() + head, bytes.size() - head) == 0;
}

} // namespace croft::disk::tool
