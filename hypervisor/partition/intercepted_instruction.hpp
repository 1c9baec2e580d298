// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/virtual_cpu.hpp"
#include "hypervisor/emulate/instruction_length.hpp"

#include <optional>

namespace hypervisor {

class VirtualProcessor;

/// Length of the instruction that caused an exit. Where the processor does not tell, the
/// instruction is looked at. \return nothing if it isn't there any more: the guest has changed its
/// memory, and is to run what is there now.
std::optional<unsigned> instruction_length(
    VirtualProcessor& vp, const Exit& exit, InterceptedInstruction which);

} // namespace hypervisor
