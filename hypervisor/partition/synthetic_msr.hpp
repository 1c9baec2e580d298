// SPDX-License-Identifier: Apache-2.0
// The synthetic MSRs, 0x40000000 to 0x400001ff (TLFS "MSRs").
#pragma once

#include "hypervisor/partition/msr.hpp"

namespace hypervisor {

MsrResult read_synthetic_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t& value);
MsrResult write_synthetic_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t value);

} // namespace hypervisor
