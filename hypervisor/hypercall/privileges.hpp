// SPDX-License-Identifier: Apache-2.0
// What a child may do (HV_PARTITION_PRIVILEGE_MASK).
#pragma once

#include "abi/cpuid.h"
#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/partition/cpuid_policy.hpp"
#include "hypervisor/partition/partition.hpp"

#include <cstdint>

namespace hypervisor::hypercall {

/// A synthetic processor feature and the privileges that it stands for.
struct SyntheticFeature {
    std::uint64_t feature;
    std::uint64_t privileges;
};
inline constexpr SyntheticFeature synthetic_features[] = {
    {HV_SYNTHETIC_ACCESS_VP_RUN_TIME_REG, HV_ACCESS_VP_RUN_TIME_REG},
    {HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_COUNTER, HV_ACCESS_PARTITION_REFERENCE_COUNTER},
    {HV_SYNTHETIC_ACCESS_SYNIC_REGS, HV_ACCESS_SYNIC_REGS | HV_POST_MESSAGES},
    {HV_SYNTHETIC_ACCESS_SYNTHETIC_TIMER_REGS, HV_ACCESS_SYNTHETIC_TIMER_REGS},
    {HV_SYNTHETIC_ACCESS_INTR_CTRL_REGS, HV_ACCESS_INTR_CTRL_REGS},
    {HV_SYNTHETIC_ACCESS_HYPERCALL_REGS, HV_ACCESS_HYPERCALL_MSRS},
    {HV_SYNTHETIC_ACCESS_VP_INDEX, HV_ACCESS_VP_INDEX},
    {HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_TSC, HV_ACCESS_PARTITION_REFERENCE_TSC},
    {HV_SYNTHETIC_ACCESS_GUEST_IDLE_REG, HV_ACCESS_GUEST_IDLE_REG},
    {HV_SYNTHETIC_ACCESS_FREQUENCY_REGS, HV_ACCESS_FREQUENCY_REGS},
    {HV_SYNTHETIC_SIGNAL_EVENTS, HV_SIGNAL_EVENTS},
    // Needs none; CPUID follows it.
    {HV_SYNTHETIC_HYPERVISOR_PRESENT | HV_SYNTHETIC_HV1 | HV_SYNTHETIC_DIRECT_SYNTHETIC_TIMERS |
            HV_SYNTHETIC_EXTENDED_PROCESSOR_MASKS | HV_SYNTHETIC_TB_FLUSH_HYPERCALLS |
            HV_SYNTHETIC_CLUSTER_IPI | HV_SYNTHETIC_NOTIFY_LONG_SPIN_WAIT,
        0},
};

constexpr std::uint64_t privileges_of(std::uint64_t features) {
    std::uint64_t mask = 0;
    for (const SyntheticFeature& known : synthetic_features) {
        mask |= (features & known.feature) != 0 ? known.privileges : 0;
    }
    return mask;
}

/// Those that a child can be given.
inline constexpr std::uint64_t assignable_features = [] {
    std::uint64_t mask = 0;
    for (const SyntheticFeature& known : synthetic_features) {
        mask |= known.feature;
    }
    return mask;
}();

/// Before its parent says more: everything that needs no trust, and that CPUID does not advise.
inline constexpr std::uint64_t child_features =
    assignable_features & ~HV_SYNTHETIC_ACCESS_GUEST_IDLE_REG;

/// What its parent may let it do.
inline constexpr std::uint64_t assignable_privileges =
    privileges_of(assignable_features) | HV_ACCESS_TSC_INVARIANT_CONTROLS | HV_ACCESS_PARTITION_ID;

/// What follows from its processors.
inline std::uint64_t privileges_by_processor(const Partition& partition) {
    constexpr unsigned bank = 1;
    constexpr std::uint64_t tsc_invariant = 1u << 1;
    const std::uint64_t features =
        cpuid_policy::processor_features(bank, partition.disabled_features, cpuid);
    return (features & tsc_invariant) != 0 ? HV_ACCESS_TSC_INVARIANT_CONTROLS : 0;
}

} // namespace hypervisor::hypercall
