// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/emulate/instruction_mode.hpp"
#include "hypervisor/emulate/instruction_reader.hpp"

#include <cstdint>
#include <expected>
#include <optional>
#include <span>

namespace hypervisor {

/// An instruction with one memory operand, of those with which software reaches device registers:
/// MOV, MOVZX, MOVSX, MOVSXD, XCHG, single STOS, and ADD, OR, AND, SUB, XOR, CMP, TEST. Where the
/// operand lies is not said: the intercept has told that.
struct MemoryMove {
    enum class Operation : std::uint8_t {
        load,
        store,
        exchange,
        add,
        bit_or,
        bit_and,
        subtract,
        bit_xor,
        compare,
        test,
    };

    /// The operand that isn't the memory, or the accumulator of STOS and of the A0 to A3 forms.
    struct Register {
        std::uint8_t index =
            0; ///< 0 to 15, as encoded: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8…
        std::uint8_t size = 0;  ///< in bytes
        bool high_byte = false; ///< AH, CH, DH, BH: bits 15 to 8 of registers 0 to 3
    };

    Operation operation = Operation::load;
    std::uint8_t length = 0;       ///< of the instruction
    std::uint8_t operand_size = 0; ///< bytes of memory that are accessed
    bool sign_extend = false;      ///< of a load into a larger register; else zeros
    bool register_is_destination = false;
    bool locked = false;                  ///< reads and writes at once
    std::uint8_t string_address_size = 0; ///< STOS moves this many bytes of RDI on; else 0
    Register reg;
    std::optional<std::uint64_t> immediate; ///< in place of `reg`; sign-extended

    [[nodiscard]] bool is_read() const { return operation != Operation::store; }
    [[nodiscard]] bool is_write() const;
};

/// In the order of their numbers in instructions.
using RegisterFile = std::span<std::uint64_t, 16>;

[[nodiscard]] std::expected<MemoryMove, DecodeError> decode_memory_move(
    std::span<const std::uint8_t> bytes, InstructionMode mode);

struct MemoryMoveOutcome {
    std::uint64_t rflags = 0;
    std::optional<std::uint64_t> store; ///< for the memory; no bits beyond the operand's size
};

/// Carries the instruction out, but for the memory access and the instruction pointer: `loaded` is
/// what memory holds, if the instruction reads it. Registers change as the processor changes them;
/// a flag that the manual leaves undefined becomes zero.
[[nodiscard]] MemoryMoveOutcome apply_memory_move(
    const MemoryMove& move, RegisterFile registers, std::uint64_t rflags, std::uint64_t loaded);

} // namespace hypervisor
