// SPDX-License-Identifier: Apache-2.0
// What reads and writes of MSRs do in a partition.
#pragma once

#include <cstdint>

namespace hypervisor {

class VirtualProcessor;

enum class MsrResult : std::uint8_t {
    done,
    fault, ///< the guest gets #GP
};

MsrResult partition_read_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t& value);
/// The instruction has been completed before: what a write sets off may stop the virtual processor.
MsrResult partition_write_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t value);

} // namespace hypervisor
