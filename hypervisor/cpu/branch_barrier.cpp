// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/branch_barrier.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/intrinsics.hpp"

#include <cstdint>

namespace hypervisor::branch_barrier {

namespace {

constinit bool available = false;

} // namespace

void initialise() {
    constexpr std::uint32_t size_leaf = 0x80000008;
    constexpr std::uint32_t ibpb = 1u << 12;
    available = cpuid(0x80000000).eax >= size_leaf && (cpuid(size_leaf).ebx & ibpb) != 0;
}

void issue() {
    constexpr std::uint64_t barrier = 1;
    if (available) {
        write_msr(msr_prediction_command, barrier);
    }
}

} // namespace hypervisor::branch_barrier
