// SPDX-License-Identifier: Apache-2.0
#include "fuzz/hypervisor/fuzz_input.hpp"
#include "hypervisor/emulate/instruction_length.hpp"

#include <algorithm>

using namespace hypervisor;
using fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::FuzzInput input{data, size};
    const auto which =
        InterceptedInstruction(input.take<std::uint8_t>() % intercepted_instruction_count);
    const auto mode = InstructionMode(input.take<std::uint8_t>() % 3);
    const auto bytes = input.rest();
    const auto length = intercepted_instruction_length(which, bytes, mode);
    if (!length) {
        require(length.error() != DecodeError::not_enough_bytes ||
                bytes.size() < max_instruction_length,
            "fifteen bytes are enough");
        return 0;
    }
    require(*length > 0 && *length <= max_instruction_length, "a legal length");
    require(*length <= bytes.size(), "no byte beyond the given ones");
    require(intercepted_instruction_length(which, bytes.first(*length), mode) == length,
        "what follows doesn't matter");
    const auto cut = intercepted_instruction_length(which, bytes.first(*length - 1U), mode);
    require(!cut && cut.error() == DecodeError::not_enough_bytes, "every byte matters");
    return 0;
}
