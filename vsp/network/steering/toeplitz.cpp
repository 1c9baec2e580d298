// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/steering/toeplitz.hpp"

namespace croft::vsp::network::steering {

namespace {

/// The 32 bits of the key from one on, the first as the highest.
std::uint32_t window(std::span<const std::uint8_t> key, std::size_t first_bit) {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < 5; ++i) {
        const std::size_t at = first_bit / 8 + i;
        bits = bits << 8U | (at < key.size() ? key[at] : 0U);
    }
    return static_cast<std::uint32_t>(bits >> (8 - first_bit % 8));
}

} // namespace

void fill(ToeplitzTable& table, std::span<const std::uint8_t> key) {
    for (std::size_t place = 0; place < table.size(); ++place) {
        std::array<std::uint32_t, 256>& sums = table.at(place);
        sums[0] = 0;
        for (std::size_t bit = 0; bit < 8; ++bit) {
            const std::uint32_t added = window(key, 8 * place + 7 - bit);
            const std::size_t half = std::size_t{1} << bit;
            for (std::size_t i = 0; i < half; ++i) {
                sums.at(half + i) = sums.at(i) ^ added;
            }
        }
    }
}

std::uint32_t hash(const ToeplitzTable& table, std::span<const std::uint8_t> input) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < input.size(); ++i) {
        sum ^= table.at(i).at(input[i]);
    }
    return sum;
}

} // namespace croft::vsp::network::steering
