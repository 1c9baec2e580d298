// SPDX-License-Identifier: Apache-2.0
#include "fuzz/hypervisor/fuzz_input.hpp"
#include "hypervisor/emulate/memory_move.hpp"

#include <array>

using namespace hypervisor;
using fuzz::require;

namespace {

void check_decoded(
    const MemoryMove& move, std::span<const std::uint8_t> bytes, InstructionMode mode) {
    require(move.length > 0 && move.length <= max_instruction_length, "a legal length");
    require(move.length <= bytes.size(), "no byte beyond the given ones");
    require(move.operand_size == 1 || move.operand_size == 2 || move.operand_size == 4 ||
            move.operand_size == 8,
        "a legal size");
    require(move.is_read() || move.is_write(), "an access");
    require(!move.locked || (move.is_read() && move.is_write()), "locks for both at once");
    require(move.reg.index < 16 && (!move.reg.high_byte || move.reg.index < 4), "a register");
    require(decode_memory_move(bytes.first(move.length), mode).has_value(),
        "what follows doesn't matter");
    const auto cut = decode_memory_move(bytes.first(move.length - 1U), mode);
    require(!cut && cut.error() == DecodeError::not_enough_bytes, "every byte matters");
}

void check_applied(const MemoryMove& move, std::uint64_t seed) {
    std::array<std::uint64_t, 16> registers{};
    for (auto& each : registers) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        each = seed;
    }
    const auto before = registers;
    const auto outcome = apply_memory_move(move, registers, 0x202, seed);
    require(outcome.store.has_value() == move.is_write(), "a value for a write");
    require(
        !outcome.store || move.operand_size == 8 || *outcome.store >> (8 * move.operand_size) == 0,
        "of the operand's size");
    require((outcome.rflags & ~std::uint64_t{0x8D5}) == 0x202, "only arithmetic flags change");
    for (unsigned index = 0; index < 16; ++index) {
        const bool target =
            index == move.reg.index || (move.string_address_size != 0 && index == 7);
        require(target || registers[index] == before[index], "other registers stay");
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::FuzzInput input{data, size};
    const auto mode = InstructionMode(input.take<std::uint8_t>() % 3);
    const auto seed = input.take<std::uint64_t>();
    const auto bytes = input.rest();
    const auto move = decode_memory_move(bytes, mode);
    if (!move) {
        require(
            move.error() != DecodeError::not_enough_bytes || bytes.size() < max_instruction_length,
            "fifteen bytes are enough");
        return 0;
    }
    check_decoded(*move, bytes, mode);
    check_applied(*move, seed);
    return 0;
}
