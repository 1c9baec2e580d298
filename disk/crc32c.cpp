// SPDX-License-Identifier: Apache-2.0
#include "disk/crc32c.hpp"

#include <array>
#include <cstring>
#if defined(__x86_64__)
    #include <nmmintrin.h>
#endif

namespace croft::disk {

namespace {

constexpr std::uint32_t reflected_polynomial = 0x82f63b78;

constexpr auto table = [] {
    std::array<std::uint32_t, 256> entries{};
    for (std::uint32_t i = 0; i < entries.size(); ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit)
            value = (value >> 1U) ^ ((value & 1U) != 0 ? reflected_polynomial : 0U);
        entries[i] = value;
    }
    return entries;
}();

std::uint32_t by_table(std::uint32_t state, std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes)
        state = (state >> 8U) ^ table[(state ^ std::to_integer<std::uint32_t>(byte)) & 0xffU];
    return state;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(
    std::uint32_t state, std::span<const std::byte> bytes) {
    std::uint64_t wide = state;
    while (bytes.size() >= sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data(), sizeof word);
        wide = _mm_crc32_u64(wide, word);
        bytes = bytes.subspan(sizeof word);
    }
    auto narrow = static_cast<std::uint32_t>(wide);
    for (const std::byte byte : bytes)
        narrow = _mm_crc32_u8(narrow, std::to_integer<std::uint8_t>(byte));
    return narrow;
}
#endif

} // namespace

std::uint32_t crc32c(std::uint32_t crc, std::span<const std::byte> bytes) {
#if defined(__x86_64__)
    static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
    if (has_instruction)
        return ~by_instruction(~crc, bytes);
#endif
    return ~by_table(~crc, bytes);
}

} // namespace croft::disk
