// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/emulate/memory_move.hpp"

#include <bit>

namespace hypervisor {

namespace {

using Operation = MemoryMove::Operation;

constexpr std::uint8_t accumulator = 0;
constexpr std::uint8_t rdi = 7;

constexpr std::uint64_t flag_carry = 1U << 0;
constexpr std::uint64_t flag_parity = 1U << 2;
constexpr std::uint64_t flag_adjust = 1U << 4;
constexpr std::uint64_t flag_zero = 1U << 6;
constexpr std::uint64_t flag_sign = 1U << 7;
constexpr std::uint64_t flag_direction = 1U << 10;
constexpr std::uint64_t flag_overflow = 1U << 11;
constexpr std::uint64_t arithmetic_flags =
    flag_carry | flag_parity | flag_adjust | flag_zero | flag_sign | flag_overflow;

constexpr std::uint64_t size_mask(unsigned size) {
    return size >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * size)) - 1;
}

constexpr std::uint64_t sign_bit(unsigned size) {
    return std::uint64_t{1} << (8 * size - 1);
}

constexpr std::uint64_t sign_extended(std::uint64_t value, unsigned size) {
    value &= size_mask(size);
    return (value ^ sign_bit(size)) - sign_bit(size);
}

/// The ADD to CMP operations by their number, which is both in bits 5 to 3 of the opcode and in the
/// reg field of the immediate group (APM vol. 3, table A-6). ADC and SBB are left out.
std::optional<Operation> arithmetic_operation(unsigned number) {
    switch (number) {
    case 0:
        return Operation::add;
    case 1:
        return Operation::bit_or;
    case 4:
        return Operation::bit_and;
    case 5:
        return Operation::subtract;
    case 6:
        return Operation::bit_xor;
    case 7:
        return Operation::compare;
    default:
        return std::nullopt;
    }
}

/// One instruction on its way through the decoder.
class Decoder final {
public:
    Decoder(std::span<const std::uint8_t> bytes, InstructionMode mode) : reader_(bytes, mode) {}

    std::expected<MemoryMove, DecodeError> decode();

private:
    bool primary_opcode(std::uint8_t opcode);
    bool secondary_opcode(std::uint8_t opcode);
    bool arithmetic(std::uint8_t opcode);
    bool arithmetic_immediate(std::uint8_t opcode);
    bool with_register(Operation operation, std::uint8_t opcode);
    bool with_immediate(Operation operation, ModRm operand, unsigned immediate_size);
    bool extending_load(unsigned memory_size, bool sign_extend);
    bool direct_offset(std::uint8_t opcode);
    bool store_string(std::uint8_t opcode);
    [[nodiscard]] bool lock_is_legal() const;

    /// Bit 0 of most opcodes tells bytes from the operand size.
    [[nodiscard]] std::uint8_t size_by(std::uint8_t opcode) const {
        return (opcode & 1) == 0 ? 1 : reader_.operand_size(prefixes_);
    }
    [[nodiscard]] MemoryMove::Register register_of(ModRm operand, std::uint8_t size) const;

    InstructionReader reader_;
    InstructionPrefixes prefixes_;
    MemoryMove move_;
};

std::expected<MemoryMove, DecodeError> Decoder::decode() {
    prefixes_ = reader_.prefixes();
    const std::uint8_t opcode = reader_.next();
    const bool known = opcode == 0x0F ? secondary_opcode(reader_.next()) : primary_opcode(opcode);
    if (const auto error = reader_.error()) {
        return std::unexpected(*error);
    }
    if (!known || (prefixes_.lock && !lock_is_legal())) {
        return std::unexpected(DecodeError::other_instruction);
    }
    move_.length = reader_.length();
    // An exchange with memory locks by itself.
    move_.locked = prefixes_.lock || move_.operation == Operation::exchange;
    return move_;
}

bool Decoder::primary_opcode(std::uint8_t opcode) {
    switch (opcode) {
    case 0x63:
        // With a 16-bit operand, processors differ in how much they read.
        return reader_.mode() == InstructionMode::bits64 && reader_.operand_size(prefixes_) != 2 &&
            extending_load(4, true);
    case 0x80:
    case 0x81:
    case 0x83:
        return arithmetic_immediate(opcode);
    case 0x84:
    case 0x85:
        return with_register(Operation::test, opcode);
    case 0x86:
    case 0x87:
        return with_register(Operation::exchange, opcode);
    case 0x88:
    case 0x89:
        return with_register(Operation::store, opcode);
    case 0x8A:
    case 0x8B:
        move_.register_is_destination = true;
        return with_register(Operation::load, opcode);
    case 0xA0:
    case 0xA1:
    case 0xA2:
    case 0xA3:
        return direct_offset(opcode);
    case 0xAA:
    case 0xAB:
        return store_string(opcode);
    case 0xC6:
    case 0xC7:
    case 0xF6:
    case 0xF7: {
        const ModRm operand = reader_.mod_rm(prefixes_);
        move_.operand_size = size_by(opcode);
        return operand.reg == 0 &&
            with_immediate(
                opcode < 0xF0 ? Operation::store : Operation::test, operand, move_.operand_size);
    }
    default:
        return opcode < 0x40 && arithmetic(opcode);
    }
}

bool Decoder::secondary_opcode(std::uint8_t opcode) {
    switch (opcode) {
    case 0xB6:
        return extending_load(1, false);
    case 0xB7:
        return extending_load(2, false);
    case 0xBE:
        return extending_load(1, true);
    case 0xBF:
        return extending_load(2, true);
    default:
        return false;
    }
}

/// 00 to 3F: eight operations, of each first the four forms with ModRM.
bool Decoder::arithmetic(std::uint8_t opcode) {
    const auto operation = arithmetic_operation(opcode >> 3);
    if (!operation || (opcode & 4) != 0) {
        return false;
    }
    move_.register_is_destination = (opcode & 2) != 0;
    return with_register(*operation, opcode);
}

bool Decoder::arithmetic_immediate(std::uint8_t opcode) {
    const ModRm operand = reader_.mod_rm(prefixes_);
    const auto operation = arithmetic_operation(operand.reg);
    move_.operand_size = size_by(opcode);
    return operation &&
        with_immediate(*operation, operand, opcode == 0x83 ? 1 : move_.operand_size);
}

bool Decoder::with_register(Operation operation, std::uint8_t opcode) {
    const ModRm operand = reader_.mod_rm(prefixes_);
    move_.operation = operation;
    move_.operand_size = size_by(opcode);
    move_.reg = register_of(operand, move_.operand_size);
    return !operand.is_register();
}

/// `immediate_size` is at most 4 in the instruction.
bool Decoder::with_immediate(Operation operation, ModRm operand, unsigned immediate_size) {
    const unsigned encoded = immediate_size == 8 ? 4 : immediate_size;
    move_.operation = operation;
    move_.immediate = sign_extended(reader_.next_value(encoded), encoded);
    return !operand.is_register();
}

bool Decoder::extending_load(unsigned memory_size, bool sign_extend) {
    const ModRm operand = reader_.mod_rm(prefixes_);
    move_.operation = Operation::load;
    move_.operand_size = std::uint8_t(memory_size);
    move_.sign_extend = sign_extend;
    move_.register_is_destination = true;
    move_.reg = register_of(operand, reader_.operand_size(prefixes_));
    return !operand.is_register();
}

/// MOV between the accumulator and an address that stands in the instruction.
bool Decoder::direct_offset(std::uint8_t opcode) {
    const bool to_memory = (opcode & 2) != 0;
    reader_.next_value(reader_.address_size(prefixes_));
    move_.operation = to_memory ? Operation::store : Operation::load;
    move_.register_is_destination = !to_memory;
    move_.operand_size = size_by(opcode);
    move_.reg = {.index = accumulator, .size = move_.operand_size};
    return true;
}

bool Decoder::store_string(std::uint8_t opcode) {
    move_.operation = Operation::store;
    move_.operand_size = size_by(opcode);
    move_.string_address_size = reader_.address_size(prefixes_);
    move_.reg = {.index = accumulator, .size = move_.operand_size};
    return prefixes_.repeat == 0;
}

bool Decoder::lock_is_legal() const {
    switch (move_.operation) {
    case Operation::exchange:
        return true;
    case Operation::add:
    case Operation::bit_or:
    case Operation::bit_and:
    case Operation::subtract:
    case Operation::bit_xor:
        return !move_.register_is_destination;
    default:
        return false;
    }
}

MemoryMove::Register Decoder::register_of(ModRm operand, std::uint8_t size) const {
    if (size == 1 && prefixes_.rex == 0 && operand.reg >= 4) {
        return {.index = std::uint8_t(operand.reg - 4), .size = 1, .high_byte = true};
    }
    return {.index = std::uint8_t(operand.reg + (prefixes_.rex_r() ? 8 : 0)), .size = size};
}

std::uint64_t read_register(RegisterFile registers, MemoryMove::Register which) {
    const std::uint64_t value = registers[which.index % registers.size()];
    return (which.high_byte ? value >> 8 : value) & size_mask(which.size);
}

/// Four bytes clear the upper half, one or two leave the others alone (APM vol. 1, 3.1.2.3).
void write_register(RegisterFile registers, MemoryMove::Register which, std::uint64_t value) {
    std::uint64_t& target = registers[which.index % registers.size()];
    if (which.size >= 4) {
        target = value & size_mask(which.size);
        return;
    }
    const unsigned shift = which.high_byte ? 8 : 0;
    const std::uint64_t mask = size_mask(which.size) << shift;
    target = (target & ~mask) | ((value << shift) & mask);
}

struct Arithmetic {
    std::uint64_t result;
    std::uint64_t flags;
};

std::uint64_t result_flags(std::uint64_t result, unsigned size) {
    std::uint64_t flags = 0;
    flags |= result == 0 ? flag_zero : 0;
    flags |= (result & sign_bit(size)) != 0 ? flag_sign : 0;
    flags |= std::popcount(result & 0xFF) % 2 == 0 ? flag_parity : 0;
    return flags;
}

/// `left` and `right` have no bits beyond the size.
Arithmetic add(std::uint64_t left, std::uint64_t right, unsigned size) {
    const std::uint64_t result = (left + right) & size_mask(size);
    std::uint64_t flags = result_flags(result, size);
    flags |= result < left ? flag_carry : 0;
    flags |= (left ^ right ^ result) & flag_adjust;
    flags |= ((left ^ result) & (right ^ result) & sign_bit(size)) != 0 ? flag_overflow : 0;
    return {result, flags};
}

Arithmetic subtract(std::uint64_t left, std::uint64_t right, unsigned size) {
    const std::uint64_t result = (left - right) & size_mask(size);
    std::uint64_t flags = result_flags(result, size);
    flags |= left < right ? flag_carry : 0;
    flags |= (left ^ right ^ result) & flag_adjust;
    flags |= ((left ^ right) & (left ^ result) & sign_bit(size)) != 0 ? flag_overflow : 0;
    return {result, flags};
}

Arithmetic compute(Operation operation, std::uint64_t left, std::uint64_t right, unsigned size) {
    switch (operation) {
    case Operation::add:
        return add(left, right, size);
    case Operation::subtract:
    case Operation::compare:
        return subtract(left, right, size);
    case Operation::bit_or:
        return {left | right, result_flags(left | right, size)};
    case Operation::bit_xor:
        return {left ^ right, result_flags(left ^ right, size)};
    case Operation::bit_and:
    case Operation::test:
        return {left & right, result_flags(left & right, size)};
    default:
        return {};
    }
}

MemoryMoveOutcome apply_arithmetic(const MemoryMove& move, RegisterFile registers,
    std::uint64_t rflags, std::uint64_t memory, std::uint64_t other) {
    const bool to_register = move.register_is_destination;
    const auto [result, flags] = compute(move.operation, to_register ? other : memory,
        to_register ? memory : other, move.operand_size);
    MemoryMoveOutcome outcome{.rflags = (rflags & ~arithmetic_flags) | flags, .store = {}};
    if (move.operation == Operation::compare || move.operation == Operation::test) {
        return outcome;
    }
    if (to_register) {
        write_register(registers, move.reg, result);
    } else {
        outcome.store = result;
    }
    return outcome;
}

void advance_string(const MemoryMove& move, RegisterFile registers, std::uint64_t rflags) {
    const std::uint64_t step = move.operand_size;
    const std::uint64_t next =
        (rflags & flag_direction) != 0 ? registers[rdi] - step : registers[rdi] + step;
    write_register(registers, {.index = rdi, .size = move.string_address_size}, next);
}

} // namespace

bool MemoryMove::is_write() const {
    switch (operation) {
    case Operation::load:
    case Operation::compare:
    case Operation::test:
        return false;
    case Operation::store:
    case Operation::exchange:
        return true;
    default:
        return !register_is_destination;
    }
}

std::expected<MemoryMove, DecodeError> decode_memory_move(
    std::span<const std::uint8_t> bytes, InstructionMode mode) {
    return Decoder{bytes, mode}.decode();
}

MemoryMoveOutcome apply_memory_move(
    const MemoryMove& move, RegisterFile registers, std::uint64_t rflags, std::uint64_t loaded) {
    const std::uint64_t mask = size_mask(move.operand_size);
    const std::uint64_t memory = loaded & mask;
    const std::uint64_t other =
        (move.immediate ? *move.immediate : read_register(registers, move.reg)) & mask;
    switch (move.operation) {
    case Operation::load:
        write_register(registers, move.reg,
            move.sign_extend ? sign_extended(memory, move.operand_size) : memory);
        return {.rflags = rflags, .store = {}};
    case Operation::store:
        if (move.string_address_size != 0) {
            advance_string(move, registers, rflags);
        }
        return {.rflags = rflags, .store = other};
    case Operation::exchange:
        write_register(registers, move.reg, memory);
        return {.rflags = rflags, .store = other};
    default:
        return apply_arithmetic(move, registers, rflags, memory, other);
    }
}

} // namespace hypervisor
