// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/emulate/instruction_mode.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace hypervisor {

enum class DecodeError : std::uint8_t {
    not_enough_bytes,  ///< the instruction goes on where the given bytes end
    other_instruction, ///< not the one expected, or none that this decoder knows
    too_long,          ///< more than 15 bytes: the processor would have faulted
};

/// What stands before an opcode (APM vol. 3, 1.2).
struct InstructionPrefixes {
    bool operand_size = false;
    bool address_size = false;
    bool lock = false;
    std::uint8_t repeat = 0; ///< the last of F2 and F3, or 0
    std::uint8_t rex = 0;    ///< 0 if there is none, or it is not right before the opcode

    [[nodiscard]] bool rex_w() const { return (rex & 8) != 0; }
    [[nodiscard]] bool rex_r() const { return (rex & 4) != 0; }
    [[nodiscard]] bool rex_b() const { return (rex & 1) != 0; }
};

/// A ModRM byte (APM vol. 3, 1.4.1).
struct ModRm {
    std::uint8_t mod = 0;
    std::uint8_t reg = 0; ///< without REX.R
    std::uint8_t rm = 0;  ///< without REX.B

    [[nodiscard]] bool is_register() const { return mod == 3; }
    [[nodiscard]] std::uint8_t byte() const { return std::uint8_t(mod << 6 | reg << 3 | rm); }
};

/// Reads an instruction's bytes from its first on. After the first error every byte reads as zero
/// and the error stays, so that a decoder may ask once, at its end.
class InstructionReader final {
public:
    InstructionReader(std::span<const std::uint8_t> bytes, InstructionMode mode)
        : bytes_(bytes),
          mode_(mode) {}

    [[nodiscard]] std::optional<DecodeError> error() const { return error_; }
    [[nodiscard]] std::uint8_t length() const { return length_; }
    [[nodiscard]] InstructionMode mode() const { return mode_; }

    std::uint8_t next();
    /// Up to eight bytes.
    std::uint64_t next_value(unsigned byte_count);
    InstructionPrefixes prefixes();
    /// With the SIB byte and the displacement that follow it. In `only_registers` forms, as those
    /// of control registers, a memory form means the same as the register form.
    ModRm mod_rm(const InstructionPrefixes& prefixes, bool only_registers = false);

    /// 2, 4 or 8.
    [[nodiscard]] std::uint8_t operand_size(const InstructionPrefixes& prefixes) const;
    [[nodiscard]] std::uint8_t address_size(const InstructionPrefixes& prefixes) const;

private:
    [[nodiscard]] unsigned displacement_size(ModRm mod_rm, std::uint8_t address_size);

    std::span<const std::uint8_t> bytes_;
    InstructionMode mode_;
    std::uint8_t length_ = 0;
    std::optional<DecodeError> error_;
};

} // namespace hypervisor
