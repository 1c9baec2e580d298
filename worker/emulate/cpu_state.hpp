// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

namespace croft::worker {

/// Numbers of the general registers as instructions encode them (AMD APM volume 3, 1.4.3).
enum GeneralRegister : unsigned { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi };

/// Numbers of the segment registers as instructions encode them.
enum SegmentRegister : unsigned { es, cs, ss, ds, fs, gs };

enum class CpuMode { real, protected_16, protected_32, long_64 };

/// What of a processor an instruction's emulation reads and changes.
struct CpuState {
    std::array<std::uint64_t, 16> general{};
    std::uint64_t rip = 0;
    std::uint64_t flags = 2;
    /// The segments' bases.
    std::array<std::uint64_t, 6> segment_base{};
    CpuMode mode = CpuMode::long_64;
    /// Code at SS.D set, so that PUSH and POP move 32 bits of ESP.
    bool stack_is_32 = false;
};

// Bits of RFLAGS (AMD APM volume 1, 3.1.4).
inline constexpr std::uint64_t flag_carry = 1U << 0;
inline constexpr std::uint64_t flag_parity = 1U << 2;
inline constexpr std::uint64_t flag_adjust = 1U << 4;
inline constexpr std::uint64_t flag_zero = 1U << 6;
inline constexpr std::uint64_t flag_sign = 1U << 7;
inline constexpr std::uint64_t flag_interrupt = 1U << 9;
inline constexpr std::uint64_t flag_direction = 1U << 10;
inline constexpr std::uint64_t flag_overflow = 1U << 11;
inline constexpr std::uint64_t flag_resume = 1U << 16;
inline constexpr std::uint64_t arithmetic_flags =
    flag_carry | flag_parity | flag_adjust | flag_zero | flag_sign | flag_overflow;

} // namespace croft::worker
