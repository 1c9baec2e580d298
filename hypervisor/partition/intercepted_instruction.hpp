// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/virtual_cpu.hpp"
#include "hypervisor/emulate/instruction_length.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace hypervisor {

class VirtualProcessor;

/// The bytes at the instruction pointer, as many as can be read.
struct InstructionBytes {
    static constexpr unsigned most = 15;
    std::array<std::uint8_t, most + 1> bytes{};
    std::uint8_t count = 0;
    [[nodiscard]] std::span<const std::uint8_t> view() const { return {bytes.data(), count}; }
};
InstructionBytes fetch_instruction(VirtualProcessor& vp);

/// Length of the instruction that caused an exit. Where the processor does not tell, the
/// instruction is looked at. \return nothing if it isn't there any more: the guest has changed its
/// memory, and is to run what is there now.
std::optional<unsigned> instruction_length(
    VirtualProcessor& vp, const Exit& exit, InterceptedInstruction which);

} // namespace hypervisor
