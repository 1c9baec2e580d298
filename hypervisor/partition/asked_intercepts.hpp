// SPDX-License-Identifier: Apache-2.0
// Intercepts that a parent has asked for: whether it has, and the message.
#pragma once

#include "hypervisor/cpu/virtual_cpu.hpp"

#include <cstdint>

namespace hypervisor {

class VirtualProcessor;

/// CPUID with what the guest's registers hold. \return whether the parent is to answer.
bool intercept_cpuid(VirtualProcessor& vp, unsigned instruction_length);

/// RDMSR or WRMSR that the hypervisor has not served yet; RIP is at it. \return as before.
bool intercept_msr(VirtualProcessor& vp, bool write, unsigned instruction_length);

enum class UnimplementedMsr : std::uint8_t { intercepted, fault, ignored };
/// The same, of an MSR that nobody here knows.
UnimplementedMsr settle_unimplemented_msr(
    VirtualProcessor& vp, bool write, unsigned instruction_length);

/// An exception that has not been delivered. \return whether the parent is to handle it.
bool intercept_exception(VirtualProcessor& vp, const Exit& exit);

/// HLT, which the guest has executed, in a partition whose local APICs are its parent's to make.
/// \return whether this is one.
bool intercept_halt(VirtualProcessor& vp);

} // namespace hypervisor
