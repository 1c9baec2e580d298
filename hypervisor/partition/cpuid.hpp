// SPDX-License-Identifier: Apache-2.0
// What CPUID answers in a partition.
#pragma once

#include "hypervisor/cpu/intrinsics.hpp"

#include <cstdint>

namespace hypervisor {

class VirtualProcessor;

/// For the virtual processor that runs here. \param leaf, ecx what the guest has in EAX and
/// ECX.
CpuidResult partition_cpuid(VirtualProcessor& vp, std::uint32_t leaf, std::uint32_t ecx);

/// Under what conditions an answer is asked for.
struct CpuidView {
    std::uint64_t states = 0; ///< those of XCR0 and XSS that are switched on
    bool registered = false;  ///< with what the parent has registered
};
/// For one that is held.
CpuidResult cpuid_values(
    VirtualProcessor& vp, std::uint32_t leaf, std::uint32_t subleaf, const CpuidView& view);

} // namespace hypervisor
