// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/emulate/instruction_length.hpp"

#include <optional>

namespace hypervisor {

namespace {

/// What follows the opcode.
enum class Form : std::uint8_t {
    plain,          ///< nothing
    immediate,      ///< one byte
    fixed_mod_rm,   ///< a ModRM byte with exactly the value `detail`
    group,          ///< a ModRM operand with the reg field `detail`
    memory_group,   ///< the same, in memory only
    memory,         ///< a ModRM operand in memory
    registers_only, ///< a ModRM byte whose mod field is ignored
};

enum class OpcodeMap : std::uint8_t { primary, secondary, secondary_38 };

struct Encoding {
    OpcodeMap map = OpcodeMap::primary;
    std::uint8_t opcode = 0;
    Form form = Form::plain;
    std::uint8_t detail = 0;
    std::uint8_t other_opcode = 0; ///< a second one with the same form, or 0
};

constexpr Encoding primary(std::uint8_t opcode, Form form = Form::plain) {
    return {.map = OpcodeMap::primary, .opcode = opcode, .form = form};
}

constexpr Encoding secondary(std::uint8_t opcode) {
    return {.map = OpcodeMap::secondary, .opcode = opcode};
}

/// 0F 01 with a ModRM byte that stands for one more byte of opcode.
constexpr Encoding system_opcode(std::uint8_t mod_rm) {
    return {OpcodeMap::secondary, 0x01, Form::fixed_mod_rm, mod_rm};
}

constexpr Encoding group(std::uint8_t opcode, std::uint8_t reg, Form form = Form::group) {
    return {OpcodeMap::secondary, opcode, form, reg};
}

/// APM vol. 3, appendix A.
constexpr Encoding encoding_of(InterceptedInstruction which) {
    switch (which) {
    case InterceptedInstruction::cpuid:
        return secondary(0xA2);
    case InterceptedInstruction::rdmsr:
        return secondary(0x32);
    case InterceptedInstruction::wrmsr:
        return secondary(0x30);
    case InterceptedInstruction::hlt:
        return primary(0xF4);
    case InterceptedInstruction::vmmcall:
        return system_opcode(0xD9);
    case InterceptedInstruction::vmcall:
        return system_opcode(0xC1);
    case InterceptedInstruction::xsetbv:
        return system_opcode(0xD1);
    case InterceptedInstruction::invd:
        return secondary(0x08);
    case InterceptedInstruction::wbinvd:
        return secondary(0x09);
    case InterceptedInstruction::rdtsc:
        return secondary(0x31);
    case InterceptedInstruction::rdtscp:
        return system_opcode(0xF9);
    case InterceptedInstruction::rdpmc:
        return secondary(0x33);
    case InterceptedInstruction::rdpru:
        return system_opcode(0xFD);
    case InterceptedInstruction::pause:
        return primary(0x90);
    case InterceptedInstruction::monitor:
        return system_opcode(0xC8);
    case InterceptedInstruction::mwait:
        return system_opcode(0xC9);
    case InterceptedInstruction::monitorx:
        return system_opcode(0xFA);
    case InterceptedInstruction::mwaitx:
        return system_opcode(0xFB);
    case InterceptedInstruction::rsm:
        return secondary(0xAA);
    case InterceptedInstruction::invlpg:
        return group(0x01, 7, Form::memory_group);
    case InterceptedInstruction::invlpga:
        return system_opcode(0xDF);
    case InterceptedInstruction::invpcid:
        return {OpcodeMap::secondary_38, 0x82, Form::memory};
    case InterceptedInstruction::vmrun:
        return system_opcode(0xD8);
    case InterceptedInstruction::vmload:
        return system_opcode(0xDA);
    case InterceptedInstruction::vmsave:
        return system_opcode(0xDB);
    case InterceptedInstruction::stgi:
        return system_opcode(0xDC);
    case InterceptedInstruction::clgi:
        return system_opcode(0xDD);
    case InterceptedInstruction::skinit:
        return system_opcode(0xDE);
    case InterceptedInstruction::int_n:
        return primary(0xCD, Form::immediate);
    case InterceptedInstruction::int3:
        return primary(0xCC);
    case InterceptedInstruction::icebp:
        return primary(0xF1);
    case InterceptedInstruction::into:
        return primary(0xCE);
    case InterceptedInstruction::iret:
        return primary(0xCF);
    case InterceptedInstruction::pushf:
        return primary(0x9C);
    case InterceptedInstruction::popf:
        return primary(0x9D);
    case InterceptedInstruction::mov_cr:
        return {OpcodeMap::secondary, 0x20, Form::registers_only, 0, 0x22};
    case InterceptedInstruction::mov_dr:
        return {OpcodeMap::secondary, 0x21, Form::registers_only, 0, 0x23};
    case InterceptedInstruction::clts:
        return secondary(0x06);
    case InterceptedInstruction::lmsw:
        return group(0x01, 6);
    case InterceptedInstruction::smsw:
        return group(0x01, 4);
    case InterceptedInstruction::sgdt:
        return group(0x01, 0, Form::memory_group);
    case InterceptedInstruction::sidt:
        return group(0x01, 1, Form::memory_group);
    case InterceptedInstruction::lgdt:
        return group(0x01, 2, Form::memory_group);
    case InterceptedInstruction::lidt:
        return group(0x01, 3, Form::memory_group);
    case InterceptedInstruction::sldt:
        return group(0x00, 0);
    case InterceptedInstruction::str:
        return group(0x00, 1);
    case InterceptedInstruction::lldt:
        return group(0x00, 2);
    case InterceptedInstruction::ltr:
        return group(0x00, 3);
    case InterceptedInstruction::memory_access:
        break;
    }
    return {};
}

/// Nearly every intercepted instruction is two or three bytes with nothing before them.
std::optional<std::uint8_t> length_without_prefixes(
    const Encoding& expected, std::span<const std::uint8_t> bytes) {
    if (expected.map != OpcodeMap::secondary || bytes.size() < 2 || bytes[0] != 0x0F ||
        bytes[1] != expected.opcode) {
        return std::nullopt;
    }
    if (expected.form == Form::plain) {
        return std::uint8_t{2};
    }
    if (expected.form == Form::fixed_mod_rm && bytes.size() >= 3 && bytes[2] == expected.detail) {
        return std::uint8_t{3};
    }
    return std::nullopt;
}

/// Prefixes that make another instruction of the opcode, or none.
bool prefixes_fit(InterceptedInstruction which, const InstructionPrefixes& prefixes) {
    switch (which) {
    case InterceptedInstruction::pause:
        return prefixes.repeat == 0xF3 && !prefixes.rex_b() && !prefixes.lock;
    case InterceptedInstruction::mov_cr:
        return true; // LOCK MOV CR0 is how 32-bit code reaches CR8
    case InterceptedInstruction::monitorx:
        return prefixes.repeat == 0 && !prefixes.lock; // F3: MCOMMIT
    case InterceptedInstruction::invpcid:
        return prefixes.operand_size && prefixes.repeat == 0 && !prefixes.lock;
    default:
        return !prefixes.lock;
    }
}

bool opcode_matches(const Encoding& expected, InstructionReader& reader) {
    std::uint8_t opcode = reader.next();
    if (expected.map != OpcodeMap::primary) {
        if (opcode != 0x0F) {
            return false;
        }
        opcode = reader.next();
    }
    if (expected.map == OpcodeMap::secondary_38) {
        if (opcode != 0x38) {
            return false;
        }
        opcode = reader.next();
    }
    return opcode == expected.opcode ||
        (expected.other_opcode != 0 && opcode == expected.other_opcode);
}

bool operands_match(
    const Encoding& expected, const InstructionPrefixes& prefixes, InstructionReader& reader) {
    switch (expected.form) {
    case Form::plain:
        return true;
    case Form::immediate:
        reader.next();
        return true;
    case Form::fixed_mod_rm:
        return reader.next() == expected.detail;
    case Form::group:
        return reader.mod_rm(prefixes).reg == expected.detail;
    case Form::memory_group: {
        const ModRm operand = reader.mod_rm(prefixes);
        return operand.reg == expected.detail && !operand.is_register();
    }
    case Form::memory:
        return !reader.mod_rm(prefixes).is_register();
    case Form::registers_only:
        reader.mod_rm(prefixes, true);
        return true;
    }
    return false;
}

} // namespace

std::expected<std::uint8_t, DecodeError> intercepted_instruction_length(
    InterceptedInstruction which, std::span<const std::uint8_t> bytes, InstructionMode mode) {
    const Encoding expected = encoding_of(which);
    if (const auto length = length_without_prefixes(expected, bytes)) {
        return *length;
    }
    if (which == InterceptedInstruction::into && mode == InstructionMode::bits64) {
        return std::unexpected(DecodeError::other_instruction);
    }
    InstructionReader reader{bytes, mode};
    const InstructionPrefixes prefixes = reader.prefixes();
    const bool matches =
        opcode_matches(expected, reader) && operands_match(expected, prefixes, reader);
    if (const auto error = reader.error()) {
        return std::unexpected(*error);
    }
    if (!matches || !prefixes_fit(which, prefixes)) {
        return std::unexpected(DecodeError::other_instruction);
    }
    return reader.length();
}

} // namespace hypervisor
