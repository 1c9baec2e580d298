// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/emulate/instruction_mode.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace hypervisor {

/// What decides where an instruction's operand lies.
struct OperandContext {
    InstructionMode mode = InstructionMode::bits64;
    std::span<const std::uint64_t, 16> registers; ///< in the order of their numbers
    std::uint64_t rip = 0;
    /// Bases of ES, CS, SS, DS, FS and GS. In 64-bit mode only the last two count.
    std::array<std::uint64_t, 6> segment_bases{};
};

/// The linear address of the memory that an instruction accesses: its ModRM operand, the address
/// that stands in it, or a string operand (with two of them the one that is written, or read, as
/// `is_write` says). Whether the instruction is the one that is thought can't be known here: who
/// knows the access compares. \return nothing if there is none, or it isn't known where the
/// instruction ends and that counts.
[[nodiscard]] std::optional<std::uint64_t> memory_operand_address(
    std::span<const std::uint8_t> bytes, const OperandContext& context, bool is_write);

} // namespace hypervisor
