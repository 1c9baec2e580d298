// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/emulate/instruction_mode.hpp"

#include <array>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace hypervisor::test {

using RandomSource = std::mt19937_64;

inline constexpr std::array instruction_modes{
    InstructionMode::bits16, InstructionMode::bits32, InstructionMode::bits64};

/// Some legal prefixes, the given opcode, then random bytes up to 20 in all.
inline std::vector<std::uint8_t> random_instruction(
    RandomSource& source, InstructionMode mode, std::span<const std::uint8_t> opcode) {
    static constexpr std::array<std::uint8_t, 11> prefixes{
        0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65};
    std::vector<std::uint8_t> bytes;
    const std::uint64_t choice = source() % 16;
    const std::uint64_t count = choice < 8 ? 0 : choice < 15 ? choice - 7 : source() % 14;
    for (std::uint64_t index = 0; index < count; ++index) {
        const bool rex = mode == InstructionMode::bits64 && source() % 3 == 0;
        bytes.push_back(
            rex ? std::uint8_t(0x40 | source() % 16) : prefixes[source() % prefixes.size()]);
    }
    if (mode == InstructionMode::bits64 && source() % 2 == 0) {
        bytes.push_back(std::uint8_t(0x40 | source() % 16));
    }
    bytes.insert(bytes.end(), opcode.begin(), opcode.end());
    while (bytes.size() < 20) {
        bytes.push_back(std::uint8_t(source()));
    }
    return bytes;
}

} // namespace hypervisor::test
