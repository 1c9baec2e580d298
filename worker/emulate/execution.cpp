// SPDX-License-Identifier: Apache-2.0
#include "worker/emulate/execution.hpp"

#include "worker/emulate/arithmetic.hpp"

#include <bit>
#include <cstring>
#include <utility>

namespace croft::worker {

using namespace arithmetic;

namespace {

bool is_memory(const ZydisDecodedOperand& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type == ZYDIS_MEMOP_TYPE_MEM;
}

bool is_between(ZydisRegister name, ZydisRegister first, ZydisRegister last) {
    return name >= first && name <= last;
}

SegmentRegister segment_of(ZydisRegister name) {
    switch (name) {
    case ZYDIS_REGISTER_ES:
        return es;
    case ZYDIS_REGISTER_CS:
        return cs;
    case ZYDIS_REGISTER_SS:
        return ss;
    case ZYDIS_REGISTER_FS:
        return fs;
    case ZYDIS_REGISTER_GS:
        return gs;
    default:
        return ds;
    }
}

std::uint64_t byte_swap(std::uint64_t value, unsigned size) {
    return __builtin_bswap64(value) >> (64 - size * 8);
}

} // namespace

Execution::Execution(
    EmulatorEnvironment& environment, CpuState& state, const DecodedInstruction& decoded)
    : environment_(environment),
      state_(state),
      decoded_(decoded) {}

void Execution::run() {
    if (run_string()) {
        return; // moves RIP itself, since it may have to come back
    }
    const bool done = run_move() || run_arithmetic() || run_exchange() || run_bit_test() ||
        run_conditional() || run_stack() || run_port() || run_vector_move();
    if (!done) {
        throw Unsupported();
    }
    state_.rip =
        truncate(state_.rip + decoded_.instruction.length, state_.mode == CpuMode::long_64 ? 8 : 4);
    state_.flags &= ~flag_resume;
}

unsigned Execution::operand_size(const Operand& of) const {
    const unsigned size = of.size / 8U;
    if (size != 1 && size != 2 && size != 4 && size != 8) {
        throw Unsupported();
    }
    return size;
}

unsigned Execution::address_size() const {
    return decoded_.instruction.address_width / 8U;
}

std::uint64_t Execution::linear(SegmentRegister segment, std::uint64_t offset) const {
    const std::uint64_t cut = truncate(offset, address_size());
    if (state_.mode != CpuMode::long_64) {
        return truncate(state_.segment_base[segment] + cut, 4);
    }
    return cut + (segment == fs || segment == gs ? state_.segment_base[segment] : 0);
}

std::uint64_t Execution::linear_of(const Operand& of) const {
    std::uint64_t offset = 0;
    if (of.mem.base == ZYDIS_REGISTER_RIP || of.mem.base == ZYDIS_REGISTER_EIP) {
        offset = state_.rip + decoded_.instruction.length;
    } else if (of.mem.base != ZYDIS_REGISTER_NONE) {
        offset = read_register(of.mem.base);
    }
    if (of.mem.index != ZYDIS_REGISTER_NONE) {
        offset += read_register(of.mem.index) * of.mem.scale;
    }
    if (of.mem.disp.has_displacement) {
        offset += static_cast<std::uint64_t>(of.mem.disp.value);
    }
    return linear(segment_of(of.mem.segment), offset);
}

std::uint64_t Execution::read_register(ZydisRegister name) const {
    const auto number = [name](ZydisRegister first) {
        return static_cast<unsigned>(name - first);
    };
    if (is_between(name, ZYDIS_REGISTER_RAX, ZYDIS_REGISTER_R15)) {
        return state_.general[number(ZYDIS_REGISTER_RAX)];
    }
    if (is_between(name, ZYDIS_REGISTER_EAX, ZYDIS_REGISTER_R15D)) {
        return truncate(state_.general[number(ZYDIS_REGISTER_EAX)], 4);
    }
    if (is_between(name, ZYDIS_REGISTER_AX, ZYDIS_REGISTER_R15W)) {
        return truncate(state_.general[number(ZYDIS_REGISTER_AX)], 2);
    }
    if (is_between(name, ZYDIS_REGISTER_AL, ZYDIS_REGISTER_BL)) {
        return truncate(state_.general[number(ZYDIS_REGISTER_AL)], 1);
    }
    if (is_between(name, ZYDIS_REGISTER_AH, ZYDIS_REGISTER_BH)) {
        return truncate(state_.general[number(ZYDIS_REGISTER_AH)] >> 8, 1);
    }
    if (is_between(name, ZYDIS_REGISTER_SPL, ZYDIS_REGISTER_R15B)) {
        return truncate(state_.general[number(ZYDIS_REGISTER_SPL) + rsp], 1);
    }
    throw Unsupported();
}

void Execution::write_general(unsigned number, unsigned size, std::uint64_t value) {
    std::uint64_t& place = state_.general[number];
    // A write of 32 bits clears the upper half; narrower ones leave the rest.
    if (size >= 4) {
        place = truncate(value, size);
    } else {
        place = (place & ~truncate(~std::uint64_t{0}, size)) | truncate(value, size);
    }
}

void Execution::write_register(ZydisRegister name, std::uint64_t value) {
    const auto number = [name](ZydisRegister first) {
        return static_cast<unsigned>(name - first);
    };
    if (is_between(name, ZYDIS_REGISTER_RAX, ZYDIS_REGISTER_R15)) {
        write_general(number(ZYDIS_REGISTER_RAX), 8, value);
    } else if (is_between(name, ZYDIS_REGISTER_EAX, ZYDIS_REGISTER_R15D)) {
        write_general(number(ZYDIS_REGISTER_EAX), 4, value);
    } else if (is_between(name, ZYDIS_REGISTER_AX, ZYDIS_REGISTER_R15W)) {
        write_general(number(ZYDIS_REGISTER_AX), 2, value);
    } else if (is_between(name, ZYDIS_REGISTER_AL, ZYDIS_REGISTER_BL)) {
        write_general(number(ZYDIS_REGISTER_AL), 1, value);
    } else if (is_between(name, ZYDIS_REGISTER_AH, ZYDIS_REGISTER_BH)) {
        std::uint64_t& place = state_.general[number(ZYDIS_REGISTER_AH)];
        place = (place & ~std::uint64_t{0xff00}) | (truncate(value, 1) << 8);
    } else if (is_between(name, ZYDIS_REGISTER_SPL, ZYDIS_REGISTER_R15B)) {
        write_general(number(ZYDIS_REGISTER_SPL) + rsp, 1, value);
    } else {
        throw Unsupported();
    }
}

std::uint64_t Execution::read_linear(std::uint64_t address, unsigned size, bool for_write) {
    std::array<std::uint8_t, 8> bytes{};
    const LinearAccess access{address, for_write};
    if (const auto fault = environment_.read_memory(access, std::span(bytes).first(size))) {
        throw GuestException(*fault);
    }
    return std::bit_cast<std::uint64_t>(bytes);
}

void Execution::write_linear(std::uint64_t address, unsigned size, std::uint64_t value) {
    const auto bytes = std::bit_cast<std::array<std::uint8_t, 8>>(value);
    const LinearAccess access{address, true};
    if (const auto fault = environment_.write_memory(access, std::span(bytes).first(size))) {
        throw GuestException(*fault);
    }
}

std::uint64_t Execution::read(const Operand& of, bool for_write) {
    switch (of.type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
        return read_register(of.reg.value);
    case ZYDIS_OPERAND_TYPE_MEMORY:
        return read_linear(linear_of(of), operand_size(of), for_write);
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        return of.imm.value.u;
    default:
        throw Unsupported();
    }
}

void Execution::write(const Operand& to, std::uint64_t value) {
    if (to.type == ZYDIS_OPERAND_TYPE_REGISTER) {
        write_register(to.reg.value, value);
    } else if (is_memory(to)) {
        write_linear(linear_of(to), operand_size(to), value);
    } else {
        throw Unsupported();
    }
}

void Execution::set_flags(std::uint64_t changed, std::uint64_t value) {
    state_.flags = (state_.flags & ~changed) | (value & changed);
}

bool Execution::run_move() {
    const Operand& to = operand(0);
    const Operand& from = operand(1);
    switch (decoded_.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVNTI:
        write(to, read(from));
        return true;
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
        write(to, sign_extend(read(from), operand_size(from)));
        return true;
    case ZYDIS_MNEMONIC_MOVBE:
        write(to, byte_swap(read(from), operand_size(from)));
        return true;
    default:
        return false;
    }
}

void Execution::binary(std::uint64_t left, std::uint64_t right, unsigned size) {
    const bool carry = (state_.flags & flag_carry) != 0;
    std::uint64_t changed = arithmetic_flags;
    bool stores = true;
    Result result;
    switch (decoded_.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
        result = add(left, right, false, size);
        break;
    case ZYDIS_MNEMONIC_ADC:
        result = add(left, right, carry, size);
        break;
    case ZYDIS_MNEMONIC_SBB:
        result = subtract(left, right, carry, size);
        break;
    case ZYDIS_MNEMONIC_CMP:
        stores = false;
        [[fallthrough]];
    case ZYDIS_MNEMONIC_SUB:
        result = subtract(left, right, false, size);
        break;
    case ZYDIS_MNEMONIC_TEST:
        stores = false;
        [[fallthrough]];
    case ZYDIS_MNEMONIC_AND:
        result = logic(left & right, size);
        break;
    case ZYDIS_MNEMONIC_OR:
        result = logic(left | right, size);
        break;
    case ZYDIS_MNEMONIC_XOR:
        result = logic(left ^ right, size);
        break;
    case ZYDIS_MNEMONIC_INC:
        result = add(left, 1, false, size);
        changed &= ~flag_carry;
        break;
    case ZYDIS_MNEMONIC_DEC:
        result = subtract(left, 1, false, size);
        changed &= ~flag_carry;
        break;
    case ZYDIS_MNEMONIC_NEG:
        result = subtract(0, left, false, size);
        break;
    default: // NOT
        result = {truncate(~left, size), 0};
        changed = 0;
        break;
    }
    if (stores) {
        write(operand(0), result.value);
    }
    set_flags(changed, result.flags);
}

bool Execution::run_arithmetic() {
    const Operand& to = operand(0);
    switch (decoded_.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_SBB:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR: {
        const std::uint64_t left = read(to, true);
        binary(left, read(operand(1)), operand_size(to));
        return true;
    }
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_TEST: {
        const std::uint64_t left = read(to);
        binary(left, read(operand(1)), operand_size(to));
        return true;
    }
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_NOT:
        binary(read(to, true), 0, operand_size(to));
        return true;
    default:
        return false;
    }
}

bool Execution::run_exchange() {
    const Operand& to = operand(0);
    const Operand& with = operand(1);
    switch (decoded_.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_XCHG: {
        const std::uint64_t left = read(to, true);
        const std::uint64_t right = read(with, true);
        // The operand in memory first: only it can fail.
        if (is_memory(with)) {
            write(with, left);
            write(to, right);
        } else {
            write(to, right);
            write(with, left);
        }
        return true;
    }
    case ZYDIS_MNEMONIC_XADD: {
        const std::uint64_t left = read(to, true);
        const Result sum = add(left, read(with), false, operand_size(to));
        if (is_memory(to)) {
            write(to, sum.value);
            write(with, left);
        } else {
            write(with, left);
            write(to, sum.value);
        }
        set_flags(arithmetic_flags, sum.flags);
        return true;
    }
    case ZYDIS_MNEMONIC_CMPXCHG: {
        const unsigned size = operand_size(to);
        const std::uint64_t left = read(to, true);
        const Result compared = subtract(state_.general[rax], left, false, size);
        const bool equal = (compared.flags & flag_zero) != 0;
        // The processor writes in either case.
        write(to, equal ? read(with) : left);
        if (!equal) {
            write_general(rax, size, left);
        }
        set_flags(arithmetic_flags, compared.flags);
        return true;
    }
    default:
        return false;
    }
}

bool Execution::run_bit_test() {
    const ZydisMnemonic mnemonic = decoded_.instruction.mnemonic;
    if (mnemonic != ZYDIS_MNEMONIC_BT && mnemonic != ZYDIS_MNEMONIC_BTS &&
        mnemonic != ZYDIS_MNEMONIC_BTR && mnemonic != ZYDIS_MNEMONIC_BTC) {
        return false;
    }
    const Operand& to = operand(0);
    const unsigned size = operand_size(to);
    const std::uint64_t index = read(operand(1));
    const std::uint64_t mask = std::uint64_t{1} << (index % (size * 8));
    const bool stores = mnemonic != ZYDIS_MNEMONIC_BT;
    if (!is_memory(to)) {
        throw Unsupported();
    }
    std::uint64_t address = linear_of(to);
    if (operand(1).type == ZYDIS_OPERAND_TYPE_REGISTER) {
        // In a register the index is signed and reaches beyond the operand.
        const auto signed_index = static_cast<std::int64_t>(sign_extend(index, size));
        const std::int64_t units = signed_index >> std::countr_zero(size * 8);
        address += static_cast<std::uint64_t>(units) * size;
    }
    const std::uint64_t value = read_linear(address, size, stores);
    if (mnemonic == ZYDIS_MNEMONIC_BTS) {
        write_linear(address, size, value | mask);
    } else if (mnemonic == ZYDIS_MNEMONIC_BTR) {
        write_linear(address, size, value & ~mask);
    } else if (mnemonic == ZYDIS_MNEMONIC_BTC) {
        write_linear(address, size, value ^ mask);
    }
    set_flags(flag_carry, (value & mask) != 0 ? flag_carry : 0);
    return true;
}

bool Execution::run_conditional() {
    const ZydisDecodedInstruction& instruction = decoded_.instruction;
    if (instruction.opcode_map != ZYDIS_OPCODE_MAP_0F) {
        return false;
    }
    const bool holds = condition(instruction.opcode & 0x0fU, state_.flags);
    switch (instruction.opcode & 0xf0U) {
    case 0x90: // SETcc
        write(operand(0), holds ? 1 : 0);
        return true;
    case 0x40: { // CMOVcc reads, and in 32 bits clears the upper half, in either case
        const std::uint64_t value = read(operand(1));
        write(operand(0), holds ? value : read(operand(0)));
        return true;
    }
    default:
        return false;
    }
}

bool Execution::run_stack() {
    const ZydisMnemonic mnemonic = decoded_.instruction.mnemonic;
    if (mnemonic != ZYDIS_MNEMONIC_PUSH && mnemonic != ZYDIS_MNEMONIC_POP) {
        return false;
    }
    const Operand& explicit_operand = operand(0);
    const unsigned size = decoded_.instruction.operand_width / 8U;
    const unsigned pointer_size =
        state_.mode == CpuMode::long_64 ? 8 : (state_.stack_is_32 ? 4 : 2);
    const auto stack_address = [&](std::uint64_t pointer) {
        const std::uint64_t offset = truncate(pointer, pointer_size);
        return state_.mode == CpuMode::long_64 ? offset
                                               : truncate(state_.segment_base[ss] + offset, 4);
    };
    const std::uint64_t old_pointer = state_.general[rsp];
    if (mnemonic == ZYDIS_MNEMONIC_PUSH) {
        const std::uint64_t value =
            sign_extend(read(explicit_operand), operand_size(explicit_operand));
        write_linear(stack_address(old_pointer - size), size, value);
        write_general(rsp, pointer_size, old_pointer - size);
        return true;
    }
    const std::uint64_t value = read_linear(stack_address(old_pointer), size, false);
    // An address that contains RSP is computed after it moved.
    write_general(rsp, pointer_size, old_pointer + size);
    try {
        write(explicit_operand, value);
    } catch (...) {
        state_.general[rsp] = old_pointer;
        throw;
    }
    return true;
}

bool Execution::run_port() {
    const ZydisMnemonic mnemonic = decoded_.instruction.mnemonic;
    if (mnemonic == ZYDIS_MNEMONIC_IN) {
        const unsigned size = operand_size(operand(0));
        write(
            operand(0), environment_.read_port(static_cast<std::uint16_t>(read(operand(1))), size));
        return true;
    }
    if (mnemonic == ZYDIS_MNEMONIC_OUT) {
        const unsigned size = operand_size(operand(1));
        environment_.write_port(static_cast<std::uint16_t>(read(operand(0))), size,
            static_cast<std::uint32_t>(read(operand(1))));
        return true;
    }
    return false;
}

void Execution::vector_move(unsigned size, bool clears_rest) {
    const Operand& to = operand(0);
    const Operand& from = operand(1);
    const auto xmm_number = [](const Operand& of) -> unsigned {
        if (of.type != ZYDIS_OPERAND_TYPE_REGISTER ||
            !is_between(of.reg.value, ZYDIS_REGISTER_XMM0, ZYDIS_REGISTER_XMM15)) {
            throw Unsupported();
        }
        return static_cast<unsigned>(of.reg.value - ZYDIS_REGISTER_XMM0);
    };
    std::array<std::uint8_t, 16> value{};
    if (is_memory(from)) {
        const unsigned number = xmm_number(to);
        if (!clears_rest) {
            value = environment_.read_xmm(number);
        }
        const LinearAccess access{linear_of(from), false};
        if (const auto fault = environment_.read_memory(access, std::span(value).first(size))) {
            throw GuestException(*fault);
        }
        environment_.write_xmm(number, value);
    } else if (is_memory(to)) {
        value = environment_.read_xmm(xmm_number(from));
        const LinearAccess access{linear_of(to), true};
        if (const auto fault = environment_.write_memory(access, std::span(value).first(size))) {
            throw GuestException(*fault);
        }
    } else {
        throw Unsupported();
    }
}

bool Execution::run_vector_move() {
    switch (decoded_.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVNTDQ:
    case ZYDIS_MNEMONIC_MOVNTDQA:
    case ZYDIS_MNEMONIC_MOVNTPS:
    case ZYDIS_MNEMONIC_MOVNTPD:
    case ZYDIS_MNEMONIC_LDDQU:
        vector_move(16, true);
        return true;
    case ZYDIS_MNEMONIC_MOVQ:
    case ZYDIS_MNEMONIC_MOVSD:
        vector_move(8, true);
        return true;
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVSS:
        vector_move(4, true);
        return true;
    default:
        return false;
    }
}

std::uint64_t Execution::index_offset(GeneralRegister index) const {
    return truncate(state_.general[index], address_size());
}

void Execution::advance_index(GeneralRegister index, unsigned size) {
    const bool down = (state_.flags & flag_direction) != 0;
    const std::uint64_t moved = down ? state_.general[index] - size : state_.general[index] + size;
    write_general(index, address_size(), moved);
}

SegmentRegister Execution::source_segment() const {
    for (unsigned index = 0; index < decoded_.instruction.operand_count; ++index) {
        const Operand& candidate = operand(index);
        if (is_memory(candidate) &&
            (candidate.mem.base == ZYDIS_REGISTER_RSI || candidate.mem.base == ZYDIS_REGISTER_ESI ||
                candidate.mem.base == ZYDIS_REGISTER_SI)) {
            return segment_of(candidate.mem.segment);
        }
    }
    return ds;
}

void Execution::string_step(unsigned size) {
    const std::uint64_t destination = linear(es, index_offset(rdi));
    const std::uint64_t source = linear(source_segment(), index_offset(rsi));
    const auto port = static_cast<std::uint16_t>(state_.general[rdx]);
    switch (decoded_.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVSQ:
        write_linear(destination, size, read_linear(source, size, false));
        advance_index(rsi, size);
        advance_index(rdi, size);
        break;
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
        write_linear(destination, size, state_.general[rax]);
        advance_index(rdi, size);
        break;
    case ZYDIS_MNEMONIC_LODSB:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_LODSQ:
        write_general(rax, size, read_linear(source, size, false));
        advance_index(rsi, size);
        break;
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ: {
        const std::uint64_t left = read_linear(source, size, false);
        const Result compared = subtract(left, read_linear(destination, size, false), false, size);
        set_flags(arithmetic_flags, compared.flags);
        advance_index(rsi, size);
        advance_index(rdi, size);
        break;
    }
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ: {
        const Result compared =
            subtract(state_.general[rax], read_linear(destination, size, false), false, size);
        set_flags(arithmetic_flags, compared.flags);
        advance_index(rdi, size);
        break;
    }
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
        // A fault has to come before the port is read, since reading may change the device.
        (void)read_linear(destination, size, true);
        write_linear(destination, size, environment_.read_port(port, size));
        advance_index(rdi, size);
        break;
    default: // OUTS
        environment_.write_port(
            port, size, static_cast<std::uint32_t>(read_linear(source, size, false)));
        advance_index(rsi, size);
        break;
    }
}

namespace {

/// The width of a string instruction in bytes; 0 for any other.
unsigned string_size(const ZydisDecodedInstruction& instruction) {
    switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_LODSB:
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_OUTSB:
        return 1;
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_OUTSW:
        return 2;
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_CMPSD:
        // SSE has instructions of the same names.
        return instruction.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT ? 4 : 0;
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_INSD:
    case ZYDIS_MNEMONIC_OUTSD:
        return 4;
    case ZYDIS_MNEMONIC_MOVSQ:
    case ZYDIS_MNEMONIC_STOSQ:
    case ZYDIS_MNEMONIC_LODSQ:
    case ZYDIS_MNEMONIC_CMPSQ:
    case ZYDIS_MNEMONIC_SCASQ:
        return 8;
    default:
        return 0;
    }
}

} // namespace

bool Execution::run_string() {
    const ZydisDecodedInstruction& instruction = decoded_.instruction;
    const unsigned size = string_size(instruction);
    if (size == 0) {
        return false;
    }
    const bool while_equal = (instruction.attributes & ZYDIS_ATTRIB_HAS_REPE) != 0;
    const bool while_unequal = (instruction.attributes & ZYDIS_ATTRIB_HAS_REPNE) != 0;
    const bool repeats =
        (instruction.attributes & ZYDIS_ATTRIB_HAS_REP) != 0 || while_equal || while_unequal;
    std::uint64_t done = 0;
    bool ended = false;
    while (!ended) {
        if (repeats && index_offset(rcx) == 0) {
            break;
        }
        if (done++ == Emulator::most_repeats) {
            return true; // comes back for the rest, so that interrupts get in between
        }
        string_step(size);
        if (!repeats) {
            break;
        }
        write_general(rcx, address_size(), state_.general[rcx] - 1);
        const bool equal = (state_.flags & flag_zero) != 0;
        ended = (while_equal && !equal) || (while_unequal && equal);
    }
    state_.rip = truncate(state_.rip + instruction.length, state_.mode == CpuMode::long_64 ? 8 : 4);
    state_.flags &= ~flag_resume;
    return true;
}

} // namespace croft::worker
