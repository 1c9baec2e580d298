// SPDX-License-Identifier: Apache-2.0
#include "fuzz/hypervisor/fuzz_input.hpp"
#include "hypervisor/emulate/memory_operand.hpp"

#include "hypervisor/emulate/instruction_reader.hpp"

#include <array>
#include <vector>

using namespace hypervisor;
using fuzz::require;

namespace {

/// Whose end is the end of what may be read.
std::optional<std::uint64_t> find(
    std::span<const std::uint8_t> bytes, const OperandContext& context, bool is_write) {
    const std::vector<std::uint8_t> exact(bytes.begin(), bytes.end());
    return memory_operand_address(exact, context, is_write);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::FuzzInput input{data, size};
    std::array<std::uint64_t, 16> registers{};
    const auto flags = input.take<std::uint8_t>();
    const bool is_write = (flags & 4) != 0;
    auto seed = input.take<std::uint64_t>();
    const auto next = [&seed] {
        return seed = seed * 6364136223846793005U + 1442695040888963407U;
    };
    for (auto& each : registers) {
        each = next();
    }
    OperandContext context{
        .mode = InstructionMode(flags % 3), .registers = registers, .rip = next()};
    for (auto& each : context.segment_bases) {
        each = next();
    }
    const auto bytes = input.rest();
    const auto address = find(bytes, context, is_write);
    if (!address) {
        return 0;
    }
    require(
        context.mode == InstructionMode::bits64 || *address >> 32 == 0, "an address of the mode");
    require(bytes.size() < max_instruction_length ||
            find(bytes.first(max_instruction_length), context, is_write) == address,
        "what follows the longest instruction doesn't matter");
    // Its last byte is the one without which there is no answer.
    std::size_t needed = bytes.size();
    while (needed > 0 && find(bytes.first(needed - 1), context, is_write) == address) {
        --needed;
    }
    require(needed > 0 && needed <= max_instruction_length, "some of the bytes are needed");
    for (std::size_t shorter = 0; shorter < needed; ++shorter) {
        require(!find(bytes.first(shorter), context, is_write), "every byte matters");
    }
    // Bases of ES, CS, SS and DS don't count in long mode, and the others are added.
    if (context.mode == InstructionMode::bits64) {
        for (std::size_t i = 0; i < 4; ++i) {
            context.segment_bases[i] = next();
        }
        require(find(bytes, context, is_write) == address, "of four segments no base counts");
    }
    return 0;
}
