// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/emulate/memory_operand.hpp"

#include "hypervisor/emulate/memory_move.hpp"
#include "tests/unit/hypervisor/random_instruction.hpp"
#include "tests/unit/hypervisor/zydis_oracle.hpp"

#include <gtest/gtest.h>
#include <initializer_list>

namespace hypervisor::test {
namespace {

using Registers = std::array<std::uint64_t, 16>;

std::optional<std::uint64_t> find(std::initializer_list<std::uint8_t> bytes, InstructionMode mode,
    const Registers& registers, bool is_write = false) {
    std::vector<std::uint8_t> all{bytes};
    all.resize(15);
    const OperandContext context{.mode = mode,
        .registers = registers,
        .rip = 0x1000,
        .segment_bases = {0x10'0000, 0x20'0000, 0x30'0000, 0x40'0000, 0x50'0000, 0x60'0000}};
    return memory_operand_address(all, context, is_write);
}

constexpr Registers some{0x1, 0x20, 0x300, 0x4000, 0x5'0000, 0x60'0000, 0x700'0000, 0x8000'0000, 9,
    10, 11, 12, 13, 14, 15};

TEST(MemoryOperand, OfLongModeHasNoSegmentsButTheLastTwo) {
    using enum InstructionMode;
    EXPECT_EQ(find({0x8b, 0x03}, bits64, some), 0x4000u);                // mov eax, [rbx]
    EXPECT_EQ(find({0x3e, 0x8b, 0x03}, bits64, some), 0x4000u);          // DS
    EXPECT_EQ(find({0x65, 0x8b, 0x03}, bits64, some), 0x60'4000u);       // GS
    EXPECT_EQ(find({0x8b, 0x44, 0x8b, 0xf0}, bits64, some), 0x4070u);    // [rbx + 4 rcx - 16]
    EXPECT_EQ(find({0x8b, 0x05, 0x10, 0, 0, 0}, bits64, some), 0x1016u); // [rip + 16]
    EXPECT_EQ(find({0x0f, 0x38, 0xf1, 0x03}, bits64, some), 0x4000u);    // movbe [rbx], eax
    EXPECT_EQ(find({0xc7, 0x05, 0x10, 0, 0, 0, 1, 2, 3, 4}, bits64, some), 0x101au);
}

TEST(MemoryOperand, OfOtherModesHasASegment) {
    using enum InstructionMode;
    EXPECT_EQ(find({0x8b, 0x03}, bits32, some), 0x40'4000u);
    EXPECT_EQ(find({0x8b, 0x45, 0x04}, bits32, some), 0x90'0004u); // EBP: the stack's
    EXPECT_EQ(find({0x8b, 0x07}, bits16, some), 0x40'4000u);       // [bx]
    EXPECT_EQ(find({0xa1, 0x34, 0x12}, bits16, some), 0x40'1234u);
}

TEST(MemoryOperand, OfAStringIsTheOneThatIsAccessed) {
    using enum InstructionMode;
    EXPECT_EQ(find({0xf3, 0xa4}, bits64, some, false), 0x700'0000u);
    EXPECT_EQ(find({0xf3, 0xa4}, bits64, some, true), 0x8000'0000u);
    EXPECT_EQ(find({0x64, 0xa4}, bits32, some, false), 0x750'0000u);
    EXPECT_EQ(find({0x64, 0xa4}, bits32, some, true), 0x8010'0000u) << "ES can't be overridden";
}

TEST(MemoryOperand, IsNotThereInRegisterFormsAndBeyondTheEnd) {
    using enum InstructionMode;
    EXPECT_EQ(find({0x8b, 0xc3}, bits64, some), std::nullopt);
    EXPECT_EQ(find({0x90}, bits64, some), std::nullopt);
    const std::array<std::uint8_t, 3> cut{0x8b, 0x83, 0x10};
    EXPECT_EQ(memory_operand_address(cut, {.registers = some}, false), std::nullopt);
}

std::uint64_t base_of(ZydisRegister segment, InstructionMode mode, const OperandContext& context) {
    constexpr std::array order{ZYDIS_REGISTER_ES, ZYDIS_REGISTER_CS, ZYDIS_REGISTER_SS,
        ZYDIS_REGISTER_DS, ZYDIS_REGISTER_FS, ZYDIS_REGISTER_GS};
    for (std::size_t i = 0; i < order.size(); ++i) {
        if (order.at(i) == segment) {
            return mode == InstructionMode::bits64 && i < 4 ? 0 : context.segment_bases.at(i);
        }
    }
    return 0;
}

/// The oracle's address of an explicit memory operand.
std::optional<std::uint64_t> expected(
    const ZydisInstruction& decoded, const OperandContext& context) {
    for (std::size_t i = 0; i < decoded.instruction.operand_count_visible; ++i) {
        const ZydisDecodedOperand& operand = decoded.operands.at(i);
        if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.mem.type != ZYDIS_MEMOP_TYPE_MEM) {
            continue;
        }
        ZydisRegisterContext registers{};
        for (std::size_t r = 0; r < 16; ++r) {
            const auto number = static_cast<ZydisRegister>(ZYDIS_REGISTER_RAX + r);
            registers.values[number] = context.registers[r];
            const auto narrow = static_cast<ZydisRegister>(ZYDIS_REGISTER_EAX + r);
            registers.values[narrow] = context.registers[r] & 0xffffffff;
            const auto narrowest = static_cast<ZydisRegister>(ZYDIS_REGISTER_AX + r);
            registers.values[narrowest] = context.registers[r] & 0xffff;
        }
        ZyanU64 address = 0;
        if (ZYAN_FAILED(ZydisCalcAbsoluteAddressEx(
                &decoded.instruction, &operand, context.rip, &registers, &address))) {
            return std::nullopt;
        }
        const unsigned width = decoded.instruction.address_width;
        const std::uint64_t offset = width == 64 ? address : address & ((1ull << width) - 1);
        const std::uint64_t linear = base_of(operand.mem.segment, context.mode, context) + offset;
        return context.mode == InstructionMode::bits64 ? linear : linear & 0xffffffff;
    }
    return std::nullopt;
}

/// Zydis has R13D as the base of an operand that has none, though REX.B says nothing there (APM
/// vol. 3, 1.4.3).
bool is_mistaken(const ZydisDecodedInstruction& instruction) {
    return instruction.address_width == 32 && instruction.raw.modrm.mod == 0 &&
        instruction.raw.sib.base == 5 && instruction.raw.rex.B != 0;
}

TEST(MemoryOperand, IsWhereZydisSaysToo) {
    constexpr std::array<std::uint8_t, 20> opcodes{0x00, 0x03, 0x22, 0x31, 0x38, 0x63, 0x69, 0x80,
        0x81, 0x84, 0x87, 0x88, 0x8b, 0xa1, 0xa2, 0xc6, 0xc7, 0xd1, 0xf7, 0xff};
    RandomSource source{20260};
    Registers registers{};
    unsigned compared = 0;
    for (const InstructionMode mode : instruction_modes) {
        for (const std::uint8_t opcode : opcodes) {
            for (unsigned round = 0; round < 2000; ++round) {
                const std::array<std::uint8_t, 1> one{opcode};
                const auto bytes = random_instruction(source, mode, one);
                for (std::uint64_t& value : registers) {
                    value = source();
                }
                OperandContext context{.mode = mode, .registers = registers, .rip = source() >> 20};
                for (std::uint64_t& base : context.segment_bases) {
                    base = source() >> 40;
                }
                const auto decoded = zydis_decode(bytes, mode);
                // Intel's NOTRACK is a segment's prefix to this processor.
                if (!decoded || is_mistaken(decoded->instruction) ||
                    (decoded->instruction.attributes & ZYDIS_ATTRIB_HAS_NOTRACK) != 0) {
                    continue;
                }
                const auto address = expected(*decoded, context);
                const auto found = memory_operand_address(
                    std::span{bytes}.first(decoded->instruction.length), context, false);
                if (address && found) {
                    ++compared;
                    EXPECT_EQ(*found, *address) << hex(bytes);
                }
            }
        }
    }
    EXPECT_GT(compared, 20000u);
}

} // namespace
} // namespace hypervisor::test
