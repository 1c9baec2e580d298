// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/emulate/cpu_state.hpp"

#include <bit>
#include <cstdint>

/// What instructions compute, and the flags they leave (AMD APM volume 3).
namespace croft::worker::arithmetic {

/// The lowest `size` bytes of a value; `size` is 1, 2, 4 or 8.
[[nodiscard]] constexpr std::uint64_t truncate(std::uint64_t value, unsigned size) {
    return size >= 8 ? value : value & ((std::uint64_t{1} << (size * 8)) - 1);
}

[[nodiscard]] constexpr std::uint64_t sign_bit(unsigned size) {
    return std::uint64_t{1} << (size * 8 - 1);
}

[[nodiscard]] constexpr std::uint64_t sign_extend(std::uint64_t value, unsigned size) {
    const std::uint64_t sign = sign_bit(size);
    return (truncate(value, size) ^ sign) - sign;
}

struct Result {
    std::uint64_t value = 0;
    /// The arithmetic flags, those that aren't set clear.
    std::uint64_t flags = 0;
};

/// Zero, sign and parity of a value.
[[nodiscard]] constexpr std::uint64_t value_flags(std::uint64_t value, unsigned size) {
    const std::uint64_t cut = truncate(value, size);
    return (cut == 0 ? flag_zero : 0) | ((cut & sign_bit(size)) != 0 ? flag_sign : 0) |
        (std::popcount(static_cast<std::uint8_t>(cut)) % 2 == 0 ? flag_parity : 0);
}

[[nodiscard]] constexpr Result add(
    std::uint64_t left, std::uint64_t right, bool carry, unsigned size) {
    const std::uint64_t a = truncate(left, size);
    const std::uint64_t b = truncate(right, size);
    const std::uint64_t value = truncate(a + b + (carry ? 1 : 0), size);
    const bool carries = value < a || (carry && value == a);
    const bool overflows = ((a ^ value) & (b ^ value) & sign_bit(size)) != 0;
    return {value,
        value_flags(value, size) | (carries ? flag_carry : 0) | (overflows ? flag_overflow : 0) |
            ((a ^ b ^ value) & flag_adjust)};
}

[[nodiscard]] constexpr Result subtract(
    std::uint64_t left, std::uint64_t right, bool borrow, unsigned size) {
    const std::uint64_t a = truncate(left, size);
    const std::uint64_t b = truncate(right, size);
    const std::uint64_t value = truncate(a - b - (borrow ? 1 : 0), size);
    const bool borrows = a < b || (borrow && a == b);
    const bool overflows = ((a ^ b) & (a ^ value) & sign_bit(size)) != 0;
    return {value,
        value_flags(value, size) | (borrows ? flag_carry : 0) | (overflows ? flag_overflow : 0) |
            ((a ^ b ^ value) & flag_adjust)};
}

/// The flags that AND, OR, XOR and TEST leave.
[[nodiscard]] constexpr Result logic(std::uint64_t value, unsigned size) {
    return {truncate(value, size), value_flags(value, size)};
}

/// Whether the condition `code` of Jcc, SETcc and CMOVcc (its low four bits) holds.
[[nodiscard]] constexpr bool condition(unsigned code, std::uint64_t flags) {
    const bool carry = (flags & flag_carry) != 0;
    const bool zero = (flags & flag_zero) != 0;
    const bool sign = (flags & flag_sign) != 0;
    const bool overflow = (flags & flag_overflow) != 0;
    bool holds = false;
    switch ((code >> 1) & 7U) {
    case 0:
        holds = overflow;
        break;
    case 1:
        holds = carry;
        break;
    case 2:
        holds = zero;
        break;
    case 3:
        holds = carry || zero;
        break;
    case 4:
        holds = sign;
        break;
    case 5:
        holds = (flags & flag_parity) != 0;
        break;
    case 6:
        holds = sign != overflow;
        break;
    default:
        holds = zero || sign != overflow;
        break;
    }
    return holds != ((code & 1U) != 0);
}

} // namespace croft::worker::arithmetic
