// SPDX-License-Identifier: Apache-2.0
// Properties of partitions: what a parent asks of the machine, by its own partition's, and of a
// child, and what it decides about a child.
#include "abi/cpuid.h"
#include "abi/partition.h"
#include "hypervisor/cpu/extended_state.hpp"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/hypercall/target.hpp"
#include "hypervisor/partition/cpuid_policy.hpp"
#include "hypervisor/partition/machine_statistics.hpp"
#include "hypervisor/partition/time.hpp"

#include <algorithm>

namespace hypervisor::hypercall {

namespace {

/// HV_PROCESSOR_VENDOR
constexpr std::uint64_t vendor_amd = 0;

/// A synthetic processor feature and the privileges that it stands for.
struct SyntheticFeature {
    std::uint64_t feature;
    std::uint64_t privileges;
};
constexpr SyntheticFeature synthetic_features[] = {
    {HV_SYNTHETIC_ACCESS_VP_RUN_TIME_REG, HV_ACCESS_VP_RUN_TIME_REG},
    {HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_COUNTER, HV_ACCESS_PARTITION_REFERENCE_COUNTER},
    {HV_SYNTHETIC_ACCESS_SYNIC_REGS, HV_ACCESS_SYNIC_REGS | HV_POST_MESSAGES},
    {HV_SYNTHETIC_ACCESS_SYNTHETIC_TIMER_REGS, HV_ACCESS_SYNTHETIC_TIMER_REGS},
    {HV_SYNTHETIC_ACCESS_INTR_CTRL_REGS, HV_ACCESS_INTR_CTRL_REGS},
    {HV_SYNTHETIC_ACCESS_HYPERCALL_REGS, HV_ACCESS_HYPERCALL_MSRS},
    {HV_SYNTHETIC_ACCESS_VP_INDEX, HV_ACCESS_VP_INDEX},
    {HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_TSC, HV_ACCESS_PARTITION_REFERENCE_TSC},
    {HV_SYNTHETIC_ACCESS_FREQUENCY_REGS, HV_ACCESS_FREQUENCY_REGS},
    {HV_SYNTHETIC_SIGNAL_EVENTS, HV_SIGNAL_EVENTS},
};

std::uint64_t privileges_of(std::uint64_t features) {
    std::uint64_t mask = 0;
    for (const SyntheticFeature& known : synthetic_features) {
        mask |= (features & known.feature) != 0 ? known.privileges : 0;
    }
    return mask;
}

/// Those that a child can be given: it has the others, which need no privilege, in any case.
constexpr std::uint64_t assignable_features() {
    std::uint64_t mask = HV_SYNTHETIC_HYPERVISOR_PRESENT | HV_SYNTHETIC_HV1 |
        HV_SYNTHETIC_DIRECT_SYNTHETIC_TIMERS | HV_SYNTHETIC_EXTENDED_PROCESSOR_MASKS |
        HV_SYNTHETIC_TB_FLUSH_HYPERCALLS | HV_SYNTHETIC_CLUSTER_IPI |
        HV_SYNTHETIC_NOTIFY_LONG_SPIN_WAIT;
    for (const SyntheticFeature& known : synthetic_features) {
        mask |= known.feature;
    }
    return mask;
}

/// While it is on, the state of each 4 KiB tells whether they were accessed and written.
Status track_page_access(Partition& partition, std::uint64_t value) {
    if (value > 1) {
        return Status::property_value_out_of_range;
    }
    Status status = Status::success;
    {
        const SpinGuard guard{partition.space_lock()};
        if (partition.state() != Partition::State::initialized) {
            return Status::invalid_partition_state;
        }
        status = partition.space().slat().track_pages(value == 1);
    }
    // What was one entry may still be one translation.
    partition.flush_tlb();
    machine_statistics::refresh(partition);
    return status;
}

bool tracks_page_access(Partition& partition) {
    const SpinGuard guard{partition.space_lock()};
    return partition.space().slat().tracks_pages();
}

Status set_synthetic_features(Partition& partition, std::uint64_t value) {
    if (partition.state() != Partition::State::created) {
        return Status::invalid_partition_state;
    }
    partition.synthetic_features = value;
    partition.set_privileges(privileges_of(value));
    return Status::success;
}

Status set_processors_per_socket(Partition& partition, std::uint64_t value) {
    if (value == 0 || value > Partition::most_vps) {
        return Status::property_value_out_of_range;
    }
    partition.processors_per_socket = static_cast<std::uint32_t>(value);
    partition.cpuid_changed();
    return Status::success;
}

/// What a partition was given and has become. \return nothing if `code` is no such property.
std::optional<std::uint64_t> state_of(Partition& partition, std::uint32_t code) {
    switch (code) {
    case HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS:
        return partition.privileges();
    case HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES:
        return partition.synthetic_features;
    case HV_PARTITION_PROPERTY_TIME_FREEZE:
        return partition.clock().stands_still() ? 1 : 0;
    case HV_PARTITION_PROPERTY_REFERENCE_TIME:
        return partition.reference_time();
    case HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET:
        return partition.processors_per_socket;
    case HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION:
        return partition.unimplemented_msr_action;
    case HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING:
        return tracks_page_access(partition) ? 1 : 0;
    default:
        return std::nullopt;
    }
}

/// What its processors are; the caller's own partition's are the machine's, as a child can have
/// them.
std::optional<std::uint64_t> processor_of(const Partition& partition, std::uint32_t code) {
    constexpr std::uint32_t address_sizes = 0x80000008;
    const cpuid_policy::DisabledFeatures& disabled = partition.disabled_features;
    switch (code) {
    case HV_PARTITION_PROPERTY_PROCESSOR_VENDOR:
        return vendor_amd;
    case HV_PARTITION_PROPERTY_PROCESSOR_FEATURES_DEPRECATED:
    case HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0:
        return cpuid_policy::processor_features(0, disabled, cpuid);
    case HV_PARTITION_PROPERTY_PROCESSOR_FEATURES1:
        return cpuid_policy::processor_features(1, disabled, cpuid);
    case HV_PARTITION_PROPERTY_PROCESSOR_XSAVE_FEATURES:
        return cpuid_policy::xsave_features(disabled, cpuid);
    case HV_PARTITION_PROPERTY_PROCESSOR_CL_FLUSH_SIZE:
        return ((cpuid(1).ebx >> 8) & 0xff) * 8;
    case HV_PARTITION_PROPERTY_PHYSICAL_ADDRESS_WIDTH:
        return cpuid(address_sizes).eax & 0xff;
    case HV_PARTITION_PROPERTY_XSAVE_STATES:
        return partition.states();
    case HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE:
        return std::max(extended_state::size(partition.states()),
            extended_state::compacted_size(partition.states()));
    case HV_PARTITION_PROPERTY_PROCESSOR_CLOCK_FREQUENCY:
        return clock::tsc_frequency();
    default:
        return std::nullopt;
    }
}

} // namespace

Status get_partition_property(Call& call) {
    const auto in = call.in<hv_input_get_partition_property>();
    const auto target = find_target(call, in.partition_id);
    if (!target) {
        return Status::invalid_partition_id;
    }
    auto value = state_of(*target, in.property_code);
    if (!value) {
        value = processor_of(*target, in.property_code);
    }
    if (!value) {
        return Status::unknown_property;
    }
    call.out(hv_output_get_partition_property{.property_value = *value});
    return Status::success;
}

Status get_partition_property_ex(Call& call) {
    const auto in = call.in<hv_input_get_partition_property_ex>();
    const auto target = find_target(call, in.partition_id);
    if (!target) {
        return Status::invalid_partition_id;
    }
    std::uint64_t bank = 0;
    switch (in.property_code) {
    case HV_PARTITION_PROPERTY_VMM_CAPABILITIES:
        break;
    case HV_PARTITION_PROPERTY_ASSIGNABLE_SYNTHETIC_PROC_FEATURES:
        bank = assignable_features();
        break;
    default:
        return Status::unknown_property;
    }
    call.out(hv_partition_property_banks{.bank_count = 1, .reserved = {}, .bank0 = bank});
    return Status::success;
}

Status set_partition_property(Call& call) {
    const auto in = call.in<hv_input_set_partition_property>();
    const auto target = find_target(call, in.partition_id);
    if (!target || target->is_root()) {
        return Status::invalid_partition_id;
    }
    switch (in.property_code) {
    case HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES:
        return set_synthetic_features(*target, in.property_value);
    case HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION:
        if (in.property_value > HV_UNIMPLEMENTED_MSR_ACTION_IGNORE_WRITE_READ_ZERO) {
            return Status::property_value_out_of_range;
        }
        target->unimplemented_msr_action = in.property_value;
        return Status::success;
    case HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING:
        return track_page_access(*target, in.property_value);
    case HV_PARTITION_PROPERTY_REFERENCE_TIME:
        time::set_reference(*target, in.property_value);
        return Status::success;
    case HV_PARTITION_PROPERTY_TIME_FREEZE:
        if (in.property_value > 1) {
            return Status::property_value_out_of_range;
        }
        time::stand_still(*target, in.property_value == 1);
        return Status::success;
    case HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET:
        return set_processors_per_socket(*target, in.property_value);
    default:
        return Status::unknown_property;
    }
}

} // namespace hypervisor::hypercall
