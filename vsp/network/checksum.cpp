// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/checksum.hpp"

#include <bit>
#include <cstring>

namespace croft::vsp::network {

namespace {

std::uint16_t fold(std::uint64_t sum) {
    while (sum >> 16 != 0) {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    return static_cast<std::uint16_t>(sum);
}

/// As numbers in the order of this machine, which is the same sum with its bytes swapped.
std::uint64_t sum_native(const std::uint8_t* place, std::size_t size) {
    std::uint64_t sum = 0;
    for (; size >= sizeof(std::uint64_t); size -= sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, place, sizeof(word));
        sum += (word >> 32) + (word & 0xffffffff);
        place += sizeof(word);
    }
    std::uint64_t rest = 0;
    std::memcpy(&rest, place, size);
    return sum + (rest >> 32) + (rest & 0xffffffff);
}

} // namespace

void Checksum::add(std::span<const std::uint8_t> bytes) {
    const std::uint16_t folded = fold(sum_native(bytes.data(), bytes.size()));
    // After an odd number of bytes the others are in each number's other half.
    const bool swap = (std::endian::native == std::endian::little) != is_odd_;
    sum_ += swap ? static_cast<std::uint16_t>(folded << 8 | folded >> 8) : folded;
    is_odd_ ^= bytes.size() % 2 != 0;
}

void Checksum::add(std::span<const iovec> segments) {
    for (const iovec& segment : segments) {
        add(std::span(static_cast<const std::uint8_t*>(segment.iov_base), segment.iov_len));
    }
}

std::uint16_t Checksum::partial() const {
    return fold(sum_);
}

} // namespace croft::vsp::network
