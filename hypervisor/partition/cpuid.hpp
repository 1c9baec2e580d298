// SPDX-License-Identifier: Apache-2.0
// What CPUID answers in a partition.
#pragma once

#include "hypervisor/cpu/intrinsics.hpp"

#include <cstdint>

namespace hypervisor {

class VirtualProcessor;

/// \param leaf, subleaf what the guest has in EAX and ECX.
CpuidResult partition_cpuid(VirtualProcessor& vp, std::uint32_t leaf, std::uint32_t subleaf);

} // namespace hypervisor
