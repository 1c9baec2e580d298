// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/emulate/instruction_length.hpp"
#include "tests/unit/hypervisor/random_instruction.hpp"
#include "tests/unit/hypervisor/zydis_oracle.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <initializer_list>
#include <ostream>
#include <vector>

namespace hypervisor {
namespace {

using Which = InterceptedInstruction;
using Bytes = std::vector<std::uint8_t>;
using Mnemonics = std::vector<ZydisMnemonic>;
constexpr auto bits16 = InstructionMode::bits16;
constexpr auto bits32 = InstructionMode::bits32;
constexpr auto bits64 = InstructionMode::bits64;

struct Known {
    Which which;
    Bytes bytes; ///< the plain form in 64-bit mode, or in 32-bit mode where there is none
    Mnemonics mnemonics;
};

const std::vector<Known>& all_known() {
    static const std::vector<Known> known{
        {Which::cpuid, {0x0F, 0xA2}, {ZYDIS_MNEMONIC_CPUID}},
        {Which::rdmsr, {0x0F, 0x32}, {ZYDIS_MNEMONIC_RDMSR}},
        {Which::wrmsr, {0x0F, 0x30}, {ZYDIS_MNEMONIC_WRMSR}},
        {Which::hlt, {0xF4}, {ZYDIS_MNEMONIC_HLT}},
        {Which::vmmcall, {0x0F, 0x01, 0xD9}, {ZYDIS_MNEMONIC_VMMCALL}},
        {Which::vmcall, {0x0F, 0x01, 0xC1}, {ZYDIS_MNEMONIC_VMCALL}},
        {Which::xsetbv, {0x0F, 0x01, 0xD1}, {ZYDIS_MNEMONIC_XSETBV}},
        {Which::invd, {0x0F, 0x08}, {ZYDIS_MNEMONIC_INVD}},
        {Which::wbinvd, {0x0F, 0x09}, {ZYDIS_MNEMONIC_WBINVD}},
        {Which::rdtsc, {0x0F, 0x31}, {ZYDIS_MNEMONIC_RDTSC}},
        {Which::rdtscp, {0x0F, 0x01, 0xF9}, {ZYDIS_MNEMONIC_RDTSCP}},
        {Which::rdpmc, {0x0F, 0x33}, {ZYDIS_MNEMONIC_RDPMC}},
        {Which::rdpru, {0x0F, 0x01, 0xFD}, {ZYDIS_MNEMONIC_RDPRU}},
        {Which::pause, {0xF3, 0x90}, {ZYDIS_MNEMONIC_PAUSE}},
        {Which::monitor, {0x0F, 0x01, 0xC8}, {ZYDIS_MNEMONIC_MONITOR}},
        {Which::mwait, {0x0F, 0x01, 0xC9}, {ZYDIS_MNEMONIC_MWAIT}},
        {Which::monitorx, {0x0F, 0x01, 0xFA}, {ZYDIS_MNEMONIC_MONITORX}},
        {Which::mwaitx, {0x0F, 0x01, 0xFB}, {ZYDIS_MNEMONIC_MWAITX}},
        {Which::rsm, {0x0F, 0xAA}, {ZYDIS_MNEMONIC_RSM}},
        {Which::invlpg, {0x0F, 0x01, 0x38}, {ZYDIS_MNEMONIC_INVLPG}},
        {Which::invlpga, {0x0F, 0x01, 0xDF}, {ZYDIS_MNEMONIC_INVLPGA}},
        {Which::invpcid, {0x66, 0x0F, 0x38, 0x82, 0x00}, {ZYDIS_MNEMONIC_INVPCID}},
        {Which::vmrun, {0x0F, 0x01, 0xD8}, {ZYDIS_MNEMONIC_VMRUN}},
        {Which::vmload, {0x0F, 0x01, 0xDA}, {ZYDIS_MNEMONIC_VMLOAD}},
        {Which::vmsave, {0x0F, 0x01, 0xDB}, {ZYDIS_MNEMONIC_VMSAVE}},
        {Which::stgi, {0x0F, 0x01, 0xDC}, {ZYDIS_MNEMONIC_STGI}},
        {Which::clgi, {0x0F, 0x01, 0xDD}, {ZYDIS_MNEMONIC_CLGI}},
        {Which::skinit, {0x0F, 0x01, 0xDE}, {ZYDIS_MNEMONIC_SKINIT}},
        {Which::int_n, {0xCD, 0x80}, {ZYDIS_MNEMONIC_INT}},
        {Which::int3, {0xCC}, {ZYDIS_MNEMONIC_INT3}},
        {Which::icebp, {0xF1}, {ZYDIS_MNEMONIC_INT1}},
        {Which::into, {0xCE}, {ZYDIS_MNEMONIC_INTO}},
        {Which::iret, {0xCF}, {ZYDIS_MNEMONIC_IRET, ZYDIS_MNEMONIC_IRETD, ZYDIS_MNEMONIC_IRETQ}},
        {Which::pushf, {0x9C},
            {ZYDIS_MNEMONIC_PUSHF, ZYDIS_MNEMONIC_PUSHFD, ZYDIS_MNEMONIC_PUSHFQ}},
        {Which::popf, {0x9D}, {ZYDIS_MNEMONIC_POPF, ZYDIS_MNEMONIC_POPFD, ZYDIS_MNEMONIC_POPFQ}},
        {Which::mov_cr, {0x0F, 0x22, 0xC0}, {ZYDIS_MNEMONIC_MOV}},
        {Which::mov_dr, {0x0F, 0x21, 0xF8}, {ZYDIS_MNEMONIC_MOV}},
        {Which::clts, {0x0F, 0x06}, {ZYDIS_MNEMONIC_CLTS}},
        {Which::lmsw, {0x0F, 0x01, 0xF0}, {ZYDIS_MNEMONIC_LMSW}},
        {Which::smsw, {0x0F, 0x01, 0xE0}, {ZYDIS_MNEMONIC_SMSW}},
        {Which::sgdt, {0x0F, 0x01, 0x00}, {ZYDIS_MNEMONIC_SGDT}},
        {Which::sidt, {0x0F, 0x01, 0x08}, {ZYDIS_MNEMONIC_SIDT}},
        {Which::lgdt, {0x0F, 0x01, 0x10}, {ZYDIS_MNEMONIC_LGDT}},
        {Which::lidt, {0x0F, 0x01, 0x18}, {ZYDIS_MNEMONIC_LIDT}},
        {Which::sldt, {0x0F, 0x00, 0xC0}, {ZYDIS_MNEMONIC_SLDT}},
        {Which::str, {0x0F, 0x00, 0xC8}, {ZYDIS_MNEMONIC_STR}},
        {Which::lldt, {0x0F, 0x00, 0xD0}, {ZYDIS_MNEMONIC_LLDT}},
        {Which::ltr, {0x0F, 0x00, 0xD8}, {ZYDIS_MNEMONIC_LTR}},
    };
    return known;
}

std::expected<std::uint8_t, DecodeError> length(
    Which which, std::initializer_list<std::uint8_t> bytes, InstructionMode mode = bits64) {
    return intercepted_instruction_length(which, Bytes{bytes}, mode);
}

bool moves_control_register(const test::ZydisInstruction& decoded, ZydisRegisterClass kind) {
    return std::any_of(decoded.operands.begin(), decoded.operands.begin() + 2,
        [kind](const ZydisDecodedOperand& operand) {
            return operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
                ZydisRegisterGetClass(operand.reg.value) == kind;
        });
}

bool names(const Known& known, const test::ZydisInstruction& decoded) {
    if (known.which == Which::pause && (decoded.instruction.raw.rex.B & 1) != 0) {
        return false; // processors exchange R8 with RAX here
    }
    if (std::ranges::find(known.mnemonics, decoded.instruction.mnemonic) == known.mnemonics.end()) {
        return false;
    }
    if (known.which == Which::mov_cr) {
        return moves_control_register(decoded, ZYDIS_REGCLASS_CONTROL);
    }
    if (known.which == Which::mov_dr) {
        return moves_control_register(decoded, ZYDIS_REGCLASS_DEBUG);
    }
    return true;
}

TEST(InstructionLength, CoversEveryInstructionOnce) {
    ASSERT_EQ(all_known().size(), intercepted_instruction_count);
    for (unsigned index = 0; index < intercepted_instruction_count; ++index) {
        EXPECT_EQ(unsigned(all_known()[index].which), index);
    }
}

TEST(InstructionLength, MeasuresThePlainForms) {
    for (const auto& [which, bytes, mnemonics] : all_known()) {
        const auto mode = which == Which::into ? bits32 : bits64;
        EXPECT_EQ(intercepted_instruction_length(which, bytes, mode), bytes.size())
            << test::hex(bytes);
        Bytes longer = bytes;
        longer.resize(max_instruction_length);
        EXPECT_EQ(intercepted_instruction_length(which, longer, mode), bytes.size());
    }
}

TEST(InstructionLength, ToldApartFromEachOther) {
    for (const auto& expected : all_known()) {
        for (const auto& given : all_known()) {
            const bool same = expected.which == given.which;
            Bytes bytes = given.bytes;
            bytes.resize(max_instruction_length);
            EXPECT_EQ(
                intercepted_instruction_length(expected.which, bytes, bits32).has_value(), same)
                << test::hex(given.bytes);
        }
    }
}

TEST(InstructionLength, SaysWhenBytesAreMissing) {
    for (const auto& [which, bytes, mnemonics] : all_known()) {
        for (std::size_t count = 0; count < bytes.size(); ++count) {
            const auto result =
                intercepted_instruction_length(which, std::span{bytes}.first(count), bits32);
            ASSERT_FALSE(result);
            EXPECT_EQ(result.error(), DecodeError::not_enough_bytes) << test::hex(bytes) << count;
        }
    }
}

TEST(InstructionLength, CountsPrefixes) {
    EXPECT_EQ(length(Which::cpuid, {0x48, 0x0F, 0xA2}), 3);
    EXPECT_EQ(length(Which::cpuid, {0x66, 0x2E, 0x67, 0x48, 0x0F, 0xA2}), 6);
    EXPECT_EQ(length(Which::hlt, {0xF3, 0xF4}, bits16), 2);
    EXPECT_EQ(length(Which::pause, {0x66, 0xF3, 0x90}), 3);
    EXPECT_EQ(length(Which::mov_cr, {0x44, 0x0F, 0x22, 0xC0}), 4);
    EXPECT_EQ(length(Which::mov_cr, {0xF0, 0x0F, 0x20, 0xC0}, bits32), 4);
    EXPECT_EQ(length(Which::mov_cr, {0x0F, 0x20, 0x05}), 3) << "mod is ignored";
    EXPECT_EQ(length(Which::wbinvd, {0xF3, 0x0F, 0x09}), 3);
}

TEST(InstructionLength, CountsAddressBytes) {
    EXPECT_EQ(length(Which::invlpg, {0x0F, 0x01, 0x3D, 0, 0, 0, 0}), 7);
    EXPECT_EQ(length(Which::invlpg, {0x0F, 0x01, 0x3C, 0x25, 0, 0, 0, 0}), 8);
    EXPECT_EQ(length(Which::invlpg, {0x0F, 0x01, 0x7C, 0x24, 0}), 5);
    EXPECT_EQ(length(Which::invlpg, {0x0F, 0x01, 0x3E, 0, 0}, bits16), 5);
    EXPECT_EQ(length(Which::invlpg, {0x67, 0x0F, 0x01, 0x3E}, bits16), 4);
    EXPECT_EQ(length(Which::invlpg, {0x67, 0x0F, 0x01, 0x3E, 0, 0}, bits32), 6);
    EXPECT_EQ(length(Which::lgdt, {0x0F, 0x01, 0x90, 0, 0, 0, 0}, bits32), 7);
}

TEST(InstructionLength, RefusesOtherInstructions) {
    const auto other = std::unexpected(DecodeError::other_instruction);
    EXPECT_EQ(length(Which::cpuid, {0x0F, 0x0B}), other);
    EXPECT_EQ(length(Which::cpuid, {0xF0, 0x0F, 0xA2}), other) << "LOCK";
    EXPECT_EQ(length(Which::cpuid, {0x48, 0x0F, 0xA2}, bits32), other) << "DEC EAX";
    EXPECT_EQ(length(Which::pause, {0x90}), other);
    EXPECT_EQ(length(Which::pause, {0xF3, 0xF2, 0x90}), other);
    EXPECT_EQ(length(Which::pause, {0xF3, 0x41, 0x90}), other) << "XCHG";
    EXPECT_EQ(length(Which::into, {0xCE}), other) << "not in 64-bit mode";
    EXPECT_EQ(length(Which::invlpg, {0x0F, 0x01, 0xF8}), other) << "SWAPGS";
    EXPECT_EQ(length(Which::monitorx, {0xF3, 0x0F, 0x01, 0xFA}), other) << "MCOMMIT";
    EXPECT_EQ(length(Which::invpcid, {0x0F, 0x38, 0x82, 0}), other);
}

TEST(InstructionLength, StopsAtFifteenBytes) {
    Bytes bytes(13, 0x66);
    bytes.insert(bytes.end(), {0x0F, 0xA2});
    EXPECT_EQ(intercepted_instruction_length(Which::cpuid, bytes, bits64), 15);
    bytes.insert(bytes.begin(), 0x66);
    const auto result = intercepted_instruction_length(Which::cpuid, bytes, bits64);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error(), DecodeError::too_long);
    const auto endless = intercepted_instruction_length(Which::cpuid, Bytes(100, 0x2E), bits16);
    ASSERT_FALSE(endless);
    EXPECT_EQ(endless.error(), DecodeError::too_long);
}

/// Where Zydis is stricter: it follows manuals in which a prefix makes the encoding undefined,
/// while processors carry the instruction out.
bool undefined_by_prefix(const Bytes& bytes, std::uint8_t length) {
    const auto end = bytes.begin() + length;
    return std::any_of(bytes.begin(), end,
        [](std::uint8_t byte) { return byte == 0x66 || byte == 0xF2 || byte == 0xF3; });
}

TEST(InstructionLength, AgreesWithZydisOnWhatItAccepts) {
    test::RandomSource source{1};
    unsigned agreed = 0;
    for (unsigned round = 0; round < 60000; ++round) {
        const Known& known = all_known()[source() % all_known().size()];
        const auto mode = test::instruction_modes[source() % 3];
        Bytes opcode = known.bytes;
        if (known.which == Which::invpcid || known.which == Which::pause) {
            opcode.erase(opcode.begin()); // the prefix, now at random
        }
        if (source() % 4 != 0 && opcode.size() > 2) {
            opcode.back() = std::uint8_t(source());
        }
        const Bytes bytes = test::random_instruction(source, mode, opcode);
        const auto ours = intercepted_instruction_length(known.which, bytes, mode);
        if (!ours) {
            continue;
        }
        const auto theirs = test::zydis_decode(bytes, mode);
        if (!theirs) {
            EXPECT_TRUE(undefined_by_prefix(bytes, *ours) || known.which == Which::mov_cr ||
                known.which == Which::mov_dr || known.which == Which::rsm)
                << test::hex(bytes) << " mode " << unsigned(mode);
            continue;
        }
        ASSERT_TRUE(names(known, *theirs)) << test::hex(bytes) << " mode " << unsigned(mode);
        ASSERT_EQ(*ours, theirs->instruction.length)
            << test::hex(bytes) << " mode " << unsigned(mode);
        ++agreed;
    }
    EXPECT_GT(agreed, 15000U);
}

TEST(InstructionLength, AcceptsWhatZydisNames) {
    test::RandomSource source{2};
    unsigned agreed = 0;
    for (unsigned round = 0; round < 80000; ++round) {
        const auto mode = test::instruction_modes[source() % 3];
        Bytes opcode{std::uint8_t(source())};
        if (source() % 4 != 0) {
            opcode = {0x0F, std::uint8_t(source() % 3 == 0 ? 1 : source())};
        }
        const Bytes bytes = test::random_instruction(source, mode, opcode);
        const auto theirs = test::zydis_decode(bytes, mode);
        if (!theirs) {
            continue;
        }
        for (const Known& known : all_known()) {
            const auto ours = intercepted_instruction_length(known.which, bytes, mode);
            const bool same = names(known, *theirs);
            ASSERT_EQ(ours.has_value(), same) << test::hex(bytes) << " mode " << unsigned(mode)
                                              << " which " << unsigned(known.which);
            if (same) {
                ASSERT_EQ(*ours, theirs->instruction.length) << test::hex(bytes);
                ++agreed;
            }
        }
    }
    EXPECT_GT(agreed, 4000U);
}

} // namespace
} // namespace hypervisor
