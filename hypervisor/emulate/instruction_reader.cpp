// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/emulate/instruction_reader.hpp"

namespace hypervisor {

std::uint8_t InstructionReader::next() {
    if (error_) {
        return 0;
    }
    if (length_ == max_instruction_length) {
        error_ = DecodeError::too_long;
        return 0;
    }
    if (length_ == bytes_.size()) {
        error_ = DecodeError::not_enough_bytes;
        return 0;
    }
    return bytes_[length_++];
}

std::uint64_t InstructionReader::next_value(unsigned byte_count) {
    std::uint64_t value = 0;
    for (unsigned index = 0; index < byte_count; ++index) {
        value |= std::uint64_t{next()} << (8 * index);
    }
    return value;
}

InstructionPrefixes InstructionReader::prefixes() {
    InstructionPrefixes found;
    while (true) {
        const std::uint8_t byte = next();
        if (mode_ == InstructionMode::bits64 && (byte & 0xF0) == 0x40) {
            found.rex = byte;
            continue;
        }
        switch (byte) {
        case 0x66:
            found.operand_size = true;
            break;
        case 0x67:
            found.address_size = true;
            break;
        case 0xF0:
            found.lock = true;
            break;
        case 0xF2:
        case 0xF3:
            found.repeat = byte;
            break;
        case 0x26:
        case 0x2E:
        case 0x36:
        case 0x3E:
        case 0x64:
        case 0x65:
            break;
        default:
            if (!error_) {
                --length_; // the opcode
            }
            return found;
        }
        // A REX prefix counts only if the opcode follows it.
        found.rex = 0;
    }
}

ModRm InstructionReader::mod_rm(const InstructionPrefixes& prefixes, bool only_registers) {
    const std::uint8_t byte = next();
    const ModRm result{.mod = std::uint8_t(byte >> 6),
        .reg = std::uint8_t((byte >> 3) & 7),
        .rm = std::uint8_t(byte & 7)};
    if (!only_registers && !result.is_register()) {
        next_value(displacement_size(result, address_size(prefixes)));
    }
    return result;
}

/// Takes the SIB byte in, if there is one (APM vol. 3, tables 1-11 to 1-14).
unsigned InstructionReader::displacement_size(ModRm mod_rm, std::uint8_t address_size) {
    if (address_size == 2) {
        if (mod_rm.mod == 0) {
            return mod_rm.rm == 6 ? 2 : 0;
        }
        return mod_rm.mod == 1 ? 1 : 2;
    }
    const std::uint8_t base = mod_rm.rm == 4 ? next() & 7 : mod_rm.rm;
    if (mod_rm.mod == 0) {
        return base == 5 ? 4 : 0;
    }
    return mod_rm.mod == 1 ? 1 : 4;
}

std::uint8_t InstructionReader::operand_size(const InstructionPrefixes& prefixes) const {
    if (prefixes.rex_w()) {
        return 8;
    }
    return (mode_ == InstructionMode::bits16) == prefixes.operand_size ? 4 : 2;
}

std::uint8_t InstructionReader::address_size(const InstructionPrefixes& prefixes) const {
    if (mode_ == InstructionMode::bits64) {
        return prefixes.address_size ? 4 : 8;
    }
    return (mode_ == InstructionMode::bits16) == prefixes.address_size ? 4 : 2;
}

} // namespace hypervisor
