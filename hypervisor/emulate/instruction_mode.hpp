// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace hypervisor {

/// The default operand and address size of the code segment that an instruction was fetched from
/// (APM vol. 1, 2.2.4). Real mode and virtual-8086 mode are `bits16`; `bits64` is EFER.LMA with
/// CS.L.
enum class InstructionMode : std::uint8_t { bits16, bits32, bits64 };

/// No instruction is longer (APM vol. 3, 1.1).
inline constexpr std::size_t max_instruction_length = 15;

} // namespace hypervisor
