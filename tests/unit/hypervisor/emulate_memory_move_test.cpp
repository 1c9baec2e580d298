// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/emulate/memory_move.hpp"
#include "tests/unit/hypervisor/native_instruction.hpp"
#include "tests/unit/hypervisor/random_instruction.hpp"
#include "tests/unit/hypervisor/zydis_oracle.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <string>
#include <vector>

namespace hypervisor {
namespace {

using Operation = MemoryMove::Operation;
using Bytes = std::vector<std::uint8_t>;
constexpr auto bits16 = InstructionMode::bits16;
constexpr auto bits32 = InstructionMode::bits32;
constexpr auto bits64 = InstructionMode::bits64;

MemoryMove decoded(const Bytes& bytes, InstructionMode mode = bits64) {
    const auto result = decode_memory_move(bytes, mode);
    EXPECT_TRUE(result) << test::hex(bytes);
    return result.value_or(MemoryMove{});
}

DecodeError refused(const Bytes& bytes, InstructionMode mode = bits64) {
    const auto result = decode_memory_move(bytes, mode);
    EXPECT_FALSE(result) << test::hex(bytes);
    return result ? DecodeError{} : result.error();
}

TEST(MemoryMove, DecodesTheFormsOfMov) {
    const MemoryMove store = decoded({0x89, 0x87, 0x00, 0x03, 0, 0}); // mov [rdi+0x300], eax
    EXPECT_EQ(store.operation, Operation::store);
    EXPECT_EQ(store.length, 6);
    EXPECT_EQ(store.operand_size, 4);
    EXPECT_EQ(store.reg.index, 0);
    EXPECT_TRUE(store.is_write());
    EXPECT_FALSE(store.is_read());

    const MemoryMove load = decoded({0x4C, 0x8B, 0x39}); // mov r15, [rcx]
    EXPECT_EQ(load.operation, Operation::load);
    EXPECT_EQ(load.operand_size, 8);
    EXPECT_EQ(load.reg.index, 15);
    EXPECT_TRUE(load.is_read());
    EXPECT_FALSE(load.is_write());

    const MemoryMove constant = decoded({0x48, 0xC7, 0x04, 0x25, 0xB0, 0, 0xE0, 0xFE, 0xFF, 0xFF,
        0xFF, 0xFF}); // mov qword [0xfffffffffee000b0], -1
    EXPECT_EQ(constant.length, 12);
    EXPECT_EQ(constant.operand_size, 8);
    EXPECT_EQ(constant.immediate, ~std::uint64_t{0});

    const MemoryMove direct = decoded({0xA1, 0x20, 0, 0xE0, 0xFE}, bits32); // mov eax, [moffs]
    EXPECT_EQ(direct.length, 5);
    EXPECT_EQ(direct.operation, Operation::load);
    EXPECT_EQ(decoded({0xA3, 0, 0, 0, 0, 0, 0, 0, 0}).length, 9);
    EXPECT_EQ(decoded({0x67, 0xA3, 0, 0}, bits32).length, 4);

    const MemoryMove high = decoded({0x88, 0x27}); // mov [rdi], ah
    EXPECT_EQ(high.reg.index, 0);
    EXPECT_TRUE(high.reg.high_byte);
    const MemoryMove low = decoded({0x40, 0x88, 0x27}); // mov [rdi], spl
    EXPECT_EQ(low.reg.index, 4);
    EXPECT_FALSE(low.reg.high_byte);
}

TEST(MemoryMove, RefusesWhatItDoesNotKnow) {
    EXPECT_EQ(refused({0x89, 0xC0}), DecodeError::other_instruction) << "no memory";
    EXPECT_EQ(refused({0xF3, 0xAB}), DecodeError::other_instruction) << "REP STOS";
    EXPECT_EQ(refused({0xF0, 0x89, 0x00}), DecodeError::other_instruction) << "LOCK MOV";
    EXPECT_EQ(refused({0xF0, 0x03, 0x00}), DecodeError::other_instruction) << "LOCK ADD r, m";
    EXPECT_EQ(refused({0xC7, 0x08, 0, 0, 0, 0}), DecodeError::other_instruction);
    EXPECT_EQ(refused({0x13, 0x00}), DecodeError::other_instruction) << "ADC";
    EXPECT_EQ(refused({0x0F, 0x10, 0x00}), DecodeError::other_instruction) << "MOVUPS";
    EXPECT_EQ(refused({0x63, 0x00}, bits32), DecodeError::other_instruction) << "ARPL";
    EXPECT_EQ(refused({0x89}), DecodeError::not_enough_bytes);
    EXPECT_EQ(refused({0x89, 0x87, 0, 0, 0}), DecodeError::not_enough_bytes);
    EXPECT_EQ(refused({}), DecodeError::not_enough_bytes);
    EXPECT_EQ(refused(Bytes(40, 0x66)), DecodeError::too_long);
    Bytes long_one(11, 0x66);
    long_one.insert(long_one.end(), {0x81, 0x00, 0, 0});
    EXPECT_EQ(decoded(long_one).length, 15);
    long_one.insert(long_one.begin(), 0x66);
    EXPECT_EQ(refused(long_one), DecodeError::too_long);
}

TEST(MemoryMove, WritesRegistersAsTheProcessorDoes) {
    struct Case {
        Bytes bytes;
        std::uint64_t expected;
    };
    const std::vector<Case> cases{
        {{0x8A, 0x08}, 0x11223344556677F1},             // mov cl, m8
        {{0x8A, 0x28}, 0x112233445566F188},             // mov ch, m8
        {{0x66, 0x8B, 0x08}, 0x112233445566F2F1},       // mov cx, m16
        {{0x8B, 0x08}, 0x00000000F4F3F2F1},             // mov ecx, m32
        {{0x48, 0x8B, 0x08}, 0xF8F7F6F5F4F3F2F1},       // mov rcx, m64
        {{0x0F, 0xB6, 0x08}, 0xF1},                     // movzx ecx, m8
        {{0x0F, 0xBE, 0x08}, 0xFFFFFFF1},               // movsx ecx, m8
        {{0x66, 0x0F, 0xBE, 0x08}, 0x112233445566FFF1}, // movsx cx, m8
        {{0x48, 0x0F, 0xBF, 0x08}, 0xFFFFFFFFFFFFF2F1}, // movsx rcx, m16
        {{0x48, 0x63, 0x08}, 0xFFFFFFFFF4F3F2F1},       // movsxd rcx, m32
        {{0x63, 0x08}, 0xF4F3F2F1},                     // movsxd ecx, m32
    };
    for (const auto& [bytes, expected] : cases) {
        std::array<std::uint64_t, 16> registers{};
        registers[1] = 0x1122334455667788;
        const auto outcome =
            apply_memory_move(decoded(bytes), registers, 0x202, 0xF8F7F6F5F4F3F2F1);
        EXPECT_EQ(registers[1], expected) << test::hex(bytes);
        EXPECT_EQ(outcome.rflags, 0x202U);
        EXPECT_FALSE(outcome.store);
    }
}

TEST(MemoryMove, MovesAStringOn) {
    struct Case {
        Bytes bytes;
        InstructionMode mode;
        std::uint64_t rflags;
        std::uint64_t rdi;
        std::uint64_t store;
    };
    constexpr std::uint64_t backwards = 0x400;
    const std::vector<Case> cases{
        {{0xAA}, bits64, 0, 0xFFFFFFFF, 0xDD},
        {{0xAB}, bits64, 0, 0x100000002, 0xAABBCCDD},
        {{0x48, 0xAB}, bits64, backwards, 0xFFFFFFF6, 0xFFFFAABBCCDD},
        {{0x67, 0xAB}, bits64, 0, 0x2, 0xAABBCCDD},
        {{0x66, 0xAB}, bits32, backwards, 0xFFFFFFFC, 0xCCDD},
        {{0xAB}, bits16, 0, 0xFFFF0000, 0xCCDD},
    };
    for (const auto& [bytes, mode, rflags, rdi, store] : cases) {
        std::array<std::uint64_t, 16> registers{};
        registers[0] = 0xFFFFAABBCCDD;
        registers[7] = 0xFFFFFFFE;
        const auto outcome = apply_memory_move(decoded(bytes, mode), registers, rflags, 0);
        EXPECT_EQ(registers[7], rdi) << test::hex(bytes);
        EXPECT_EQ(outcome.store, store) << test::hex(bytes);
        EXPECT_EQ(outcome.rflags, rflags);
    }
}

const std::map<ZydisMnemonic, Operation>& zydis_operations() {
    static const std::map<ZydisMnemonic, Operation> operations{
        {ZYDIS_MNEMONIC_MOVZX, Operation::load},
        {ZYDIS_MNEMONIC_MOVSX, Operation::load},
        {ZYDIS_MNEMONIC_MOVSXD, Operation::load},
        {ZYDIS_MNEMONIC_STOSB, Operation::store},
        {ZYDIS_MNEMONIC_STOSW, Operation::store},
        {ZYDIS_MNEMONIC_STOSD, Operation::store},
        {ZYDIS_MNEMONIC_STOSQ, Operation::store},
        {ZYDIS_MNEMONIC_XCHG, Operation::exchange},
        {ZYDIS_MNEMONIC_ADD, Operation::add},
        {ZYDIS_MNEMONIC_OR, Operation::bit_or},
        {ZYDIS_MNEMONIC_AND, Operation::bit_and},
        {ZYDIS_MNEMONIC_SUB, Operation::subtract},
        {ZYDIS_MNEMONIC_XOR, Operation::bit_xor},
        {ZYDIS_MNEMONIC_CMP, Operation::compare},
        {ZYDIS_MNEMONIC_TEST, Operation::test},
    };
    return operations;
}

const ZydisDecodedOperand* find_operand(
    const test::ZydisInstruction& instruction, ZydisOperandType type) {
    for (const auto& operand : instruction.operands) {
        if (operand.type == type && operand.visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
            return &operand;
        }
    }
    return nullptr;
}

bool is_string_store(const test::ZydisInstruction& theirs) {
    return theirs.instruction.meta.category == ZYDIS_CATEGORY_STRINGOP &&
        zydis_operations().contains(theirs.instruction.mnemonic);
}

const ZydisDecodedOperand* memory_of(const test::ZydisInstruction& theirs) {
    return is_string_store(theirs) ? &theirs.operands[0]
                                   : find_operand(theirs, ZYDIS_OPERAND_TYPE_MEMORY);
}

const ZydisDecodedOperand* register_of(const test::ZydisInstruction& theirs) {
    return is_string_store(theirs) ? &theirs.operands[1]
                                   : find_operand(theirs, ZYDIS_OPERAND_TYPE_REGISTER);
}

Operation operation_of(const test::ZydisInstruction& theirs) {
    if (theirs.instruction.mnemonic == ZYDIS_MNEMONIC_MOV) {
        return theirs.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY ? Operation::store
                                                                    : Operation::load;
    }
    return zydis_operations().at(theirs.instruction.mnemonic);
}

/// Whether the instruction is of the set that we promise to know.
bool promised(const test::ZydisInstruction& theirs) {
    const auto& instruction = theirs.instruction;
    const bool known = instruction.mnemonic == ZYDIS_MNEMONIC_MOV ||
        zydis_operations().contains(instruction.mnemonic);
    if (!known || memory_of(theirs) == nullptr ||
        memory_of(theirs)->type != ZYDIS_OPERAND_TYPE_MEMORY) {
        return false;
    }
    if (const auto* reg = register_of(theirs)) {
        switch (ZydisRegisterGetClass(reg->reg.value)) {
        case ZYDIS_REGCLASS_GPR8:
        case ZYDIS_REGCLASS_GPR16:
        case ZYDIS_REGCLASS_GPR32:
        case ZYDIS_REGCLASS_GPR64:
            break;
        default:
            return false; // segment registers
        }
    }
    const bool repeated =
        (instruction.attributes &
            (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
    const bool alias = instruction.opcode == 0x82 ||
        ((instruction.opcode & 0xFE) == 0xF6 && instruction.raw.modrm.reg == 1);
    const bool short_movsxd =
        instruction.mnemonic == ZYDIS_MNEMONIC_MOVSXD && register_of(theirs)->size == 16;
    return !(is_string_store(theirs) && repeated) && !alias && !short_movsxd;
}

void expect_same_register(const MemoryMove& ours, const ZydisDecodedOperand& theirs) {
    const ZydisRegister name = theirs.reg.value;
    const bool high = name >= ZYDIS_REGISTER_AH && name <= ZYDIS_REGISTER_BH;
    const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, name);
    EXPECT_EQ(ours.reg.index, ZydisRegisterGetId(whole));
    EXPECT_EQ(ours.reg.size * 8, theirs.size);
    EXPECT_EQ(ours.reg.high_byte, high);
}

void expect_same(const MemoryMove& ours, const test::ZydisInstruction& theirs) {
    EXPECT_EQ(ours.length, theirs.instruction.length);
    EXPECT_EQ(ours.operation, operation_of(theirs));
    const auto* memory = memory_of(theirs);
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(ours.operand_size * 8, memory->size);
    EXPECT_EQ(ours.is_read(), (memory->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0);
    EXPECT_EQ(ours.is_write(), (memory->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0);
    const auto* immediate = find_operand(theirs, ZYDIS_OPERAND_TYPE_IMMEDIATE);
    EXPECT_EQ(ours.immediate.has_value(), immediate != nullptr);
    if (immediate != nullptr) {
        const unsigned unused = 64U - 8U * ours.operand_size;
        EXPECT_EQ(*ours.immediate << unused, immediate->imm.value.u << unused);
    } else {
        expect_same_register(ours, *register_of(theirs));
    }
    const bool extends = theirs.instruction.mnemonic == ZYDIS_MNEMONIC_MOVSX ||
        theirs.instruction.mnemonic == ZYDIS_MNEMONIC_MOVSXD;
    EXPECT_EQ(ours.sign_extend, extends);
    EXPECT_EQ(ours.string_address_size * 8,
        is_string_store(theirs) ? theirs.instruction.address_width : 0);
}

Bytes random_opcode(test::RandomSource& source) {
    static constexpr std::array<std::uint8_t, 26> likely{0x63, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86,
        0x87, 0x88, 0x89, 0x8A, 0x8B, 0xA0, 0xA1, 0xA2, 0xA3, 0xAA, 0xAB, 0xC6, 0xC7, 0xF6, 0xF7,
        0x0F, 0x0F, 0x00, 0x20};
    const std::uint8_t opcode =
        source() % 3 == 0 ? std::uint8_t(source()) : likely[source() % likely.size()];
    if (opcode == 0x0F && source() % 2 == 0) {
        return {opcode, std::uint8_t(0xB6 | (source() & 9))};
    }
    return {opcode};
}

TEST(MemoryMove, AgreesWithZydis) {
    test::RandomSource source{3};
    unsigned agreed = 0;
    for (unsigned round = 0; round < 150000; ++round) {
        const auto mode = test::instruction_modes[source() % 3];
        const Bytes bytes = test::random_instruction(source, mode, random_opcode(source));
        const auto ours = decode_memory_move(bytes, mode);
        const auto theirs = test::zydis_decode(bytes, mode);
        ASSERT_EQ(ours.has_value(), theirs && promised(*theirs))
            << test::hex(bytes) << " mode " << unsigned(mode);
        if (ours) {
            expect_same(*ours, *theirs);
            ASSERT_FALSE(HasFailure()) << test::hex(bytes) << " mode " << unsigned(mode);
            ++agreed;
        }
    }
    EXPECT_GT(agreed, 30000U);
}

/// Turns a random instruction into one whose memory operand lies at `address`, as far as that goes.
Bytes aimed_at(test::RandomSource& source, std::uint32_t address) {
    Bytes bytes;
    if (source() % 3 == 0) {
        bytes.push_back(0x66);
    }
    if (source() % 2 == 0) {
        bytes.push_back(std::uint8_t(0x40 | (source() & 0xD))); // not REX.X: no index
    }
    const Bytes opcode = random_opcode(source);
    bytes.insert(bytes.end(), opcode.begin(), opcode.end());
    if (opcode[0] >= 0xA0 && opcode[0] <= 0xA3) {
        for (unsigned index = 0; index < 8; ++index) {
            bytes.push_back(index < 4 ? std::uint8_t(address >> (8 * index)) : std::uint8_t{0});
        }
    } else if (opcode[0] != 0xAA && opcode[0] != 0xAB) {
        bytes.push_back(std::uint8_t(0x04 | (source() & 0x38)));
        bytes.push_back(0x25);
        for (unsigned index = 0; index < 4; ++index) {
            bytes.push_back(std::uint8_t(address >> (8 * index)));
        }
    }
    while (bytes.size() < 20) {
        bytes.push_back(std::uint8_t(source()));
    }
    return bytes;
}

bool leaves_adjust_undefined(Operation operation) {
    return operation == Operation::bit_or || operation == Operation::bit_and ||
        operation == Operation::bit_xor || operation == Operation::test;
}

/// Numbers near the edges of each size, where carries and overflows are.
std::uint64_t interesting(test::RandomSource& source) {
    static constexpr std::array<std::uint64_t, 8> edges{
        0, 1, 0x7F, 0x80, 0x7FFF8000, 0x80000000, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000};
    const std::uint64_t value =
        source() % 2 == 0 ? source() : edges[source() % edges.size()] + source() % 3 - 1;
    return source() % 4 == 0 ? ~value : value;
}

TEST(MemoryMove, DoesWhatThisProcessorDoes) {
    test::NativeInstruction native;
    if (!native.available()) {
        GTEST_SKIP() << "no memory below 2 GiB that may be executed";
    }
    test::RandomSource source{4};
    unsigned agreed = 0;
    for (unsigned round = 0; round < 60000; ++round) {
        const Bytes bytes = aimed_at(source, native.operand_address());
        const auto move = decode_memory_move(bytes, bits64);
        if (!move) {
            continue;
        }
        test::NativeState state;
        for (auto& each : state.registers) {
            each = interesting(source);
        }
        if (move->string_address_size != 0) {
            state.registers[7] = native.operand_address();
        }
        state.memory = interesting(source);
        state.rflags = (source() & 0xCD5) | 0x202;
        const test::NativeState before = state;

        auto registers = before.registers;
        const auto outcome = apply_memory_move(*move, registers, before.rflags, before.memory);
        std::uint64_t memory = before.memory;
        if (outcome.store) {
            const std::uint64_t mask = move->operand_size == 8
                ? ~std::uint64_t{0}
                : (std::uint64_t{1} << (8 * move->operand_size)) - 1;
            ASSERT_EQ(*outcome.store & ~mask, 0U);
            memory = (memory & ~mask) | *outcome.store;
        }
        ASSERT_EQ(outcome.store.has_value(), move->is_write());

        native.run(std::span{bytes}.first(move->length), state);
        const std::uint64_t ignored = leaves_adjust_undefined(move->operation) ? 0x10U : 0U;
        ASSERT_EQ(registers, state.registers) << test::hex(bytes);
        ASSERT_EQ(memory, state.memory) << test::hex(bytes);
        ASSERT_EQ(outcome.rflags & ~ignored, state.rflags & ~ignored) << test::hex(bytes);
        ++agreed;
    }
    EXPECT_GT(agreed, 20000U);
}

} // namespace
} // namespace hypervisor
