// SPDX-License-Identifier: Apache-2.0
#include "abi/cpuid.h"
#include "abi/partition.h"
#include "hypervisor/cpu/extended_state.hpp"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/hypercall/target.hpp"
#include "hypervisor/partition/lifecycle.hpp"
#include "hypervisor/partition/machine_statistics.hpp"
#include "hypervisor/partition/overlay.hpp"

#include <cstring>

namespace hypervisor::hypercall {

namespace {

/// What a child may do before its parent says more: everything that needs no trust.
constexpr std::uint64_t child_privileges = HV_ACCESS_VP_RUN_TIME_REG |
    HV_ACCESS_PARTITION_REFERENCE_COUNTER | HV_ACCESS_SYNIC_REGS | HV_ACCESS_SYNTHETIC_TIMER_REGS |
    HV_ACCESS_INTR_CTRL_REGS | HV_ACCESS_HYPERCALL_MSRS | HV_ACCESS_VP_INDEX |
    HV_ACCESS_PARTITION_REFERENCE_TSC | HV_ACCESS_FREQUENCY_REGS | HV_POST_MESSAGES |
    HV_SIGNAL_EVENTS;

/// The privilege that each synthetic processor feature stands for.
std::uint64_t privileges_of(std::uint64_t features) {
    struct Pair {
        std::uint64_t feature;
        std::uint64_t privilege;
    };
    constexpr Pair pairs[] = {
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
    std::uint64_t mask = 0;
    for (const Pair& pair : pairs) {
        mask |= (features & pair.feature) != 0 ? pair.privilege : 0;
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

} // namespace

Status create_partition(Call& call) {
    const auto in = call.in<hv_input_create_partition>();
    if (in.isolation_properties != 0) {
        return Status::invalid_parameter; // no isolation from the root is offered
    }
    const auto partition = lifecycle::create_partition(call.caller.partition(), in.flags);
    if (!partition) {
        return partition.error();
    }
    (*partition)->set_privileges(child_privileges);
    std::memcpy((*partition)->disabled_features.banks.data(), in.disabled_processor_features,
        sizeof in.disabled_processor_features);
    (*partition)->disabled_features.xsave = in.disabled_processor_xsave_features;
    call.out(hv_output_create_partition{.partition_id = (*partition)->id()});
    return Status::success;
}

Status initialize_partition(Call& call) {
    const auto target = find_target(call, call.in<hv_input_partition>().partition_id);
    if (!target || target->is_root()) {
        return Status::invalid_partition_id;
    }
    return lifecycle::initialize(*target);
}

Status finalize_partition(Call& call) {
    const auto target = find_target(call, call.in<hv_input_partition>().partition_id);
    if (!target || target->is_root()) {
        return Status::invalid_partition_id;
    }
    return lifecycle::finalize(*target) ? Status::success : Status::invalid_partition_state;
}

Status delete_partition(Call& call) {
    Partition* partition = nullptr;
    {
        const auto target = find_target(call, call.in<hv_input_partition>().partition_id);
        if (!target || target->is_root()) {
            return Status::invalid_partition_id;
        }
        partition = &*target;
        partition->references.fetch_add(1);
    }
    const Status status = lifecycle::delete_partition(call.caller.partition(), *partition);
    if (status != Status::success) {
        partition->references.fetch_sub(1);
    }
    return status;
}

Status get_partition_id(Call& call) {
    call.out(hv_output_get_partition_id{.partition_id = call.caller.partition().id()});
    return Status::success;
}

Status get_partition_property(Call& call) {
    const auto in = call.in<hv_input_get_partition_property>();
    const auto target = find_target(call, in.partition_id);
    if (!target) {
        return Status::invalid_partition_id;
    }
    std::uint64_t value = 0;
    switch (in.property_code) {
    case HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS:
        value = target->privileges();
        break;
    case HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES:
        value = target->synthetic_features;
        break;
    case HV_PARTITION_PROPERTY_REFERENCE_TIME:
        value = target->reference_time();
        break;
    case HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION:
        value = target->unimplemented_msr_action;
        break;
    case HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING: {
        const SpinGuard guard{target->space_lock()};
        value = target->space().slat().tracks_pages() ? 1 : 0;
        break;
    }
    case HV_PARTITION_PROPERTY_PROCESSOR_VENDOR:
        value = 1; // AMD
        break;
    case HV_PARTITION_PROPERTY_PROCESSOR_FEATURES_DEPRECATED:
        value = cpuid_policy::processor_features(0, target->disabled_features, cpuid);
        break;
    case HV_PARTITION_PROPERTY_PROCESSOR_XSAVE_FEATURES:
        value = cpuid_policy::xsave_features(target->disabled_features, cpuid);
        break;
    case HV_PARTITION_PROPERTY_XSAVE_STATES:
        value = target->states();
        break;
    case HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE:
        value = extended_state::size(target->states());
        break;
    case HV_PARTITION_PROPERTY_PROCESSOR_CLOCK_FREQUENCY:
        value = clock::tsc_frequency();
        break;
    case HV_PARTITION_PROPERTY_PROCESSOR_CL_FLUSH_SIZE:
        value = ((cpuid(1).ebx >> 8) & 0xff) * 8;
        break;
    default:
        return Status::unknown_property;
    }
    call.out(hv_output_get_partition_property{.property_value = value});
    return Status::success;
}

Status get_partition_property_ex(Call& call) {
    const auto in = call.in<hv_input_get_partition_property_ex>();
    const auto target = find_target(call, in.partition_id);
    if (!target) {
        return Status::invalid_partition_id;
    }
    if (in.property_code != HV_PARTITION_PROPERTY_VMM_CAPABILITIES) {
        return Status::unknown_property;
    }
    call.out(hv_partition_property_vmm_capabilities{.bank_count = 1, .reserved = {}, .bank0 = 0});
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
        if (target->state() != Partition::State::created) {
            return Status::invalid_partition_state;
        }
        target->synthetic_features = in.property_value;
        target->set_privileges(privileges_of(in.property_value));
        return Status::success;
    case HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION:
        if (in.property_value > HV_UNIMPLEMENTED_MSR_ACTION_IGNORE_WRITE_READ_ZERO) {
            return Status::property_value_out_of_range;
        }
        target->unimplemented_msr_action = in.property_value;
        return Status::success;
    case HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING:
        return track_page_access(*target, in.property_value);
    case HV_PARTITION_PROPERTY_REFERENCE_TIME:
        overlay::set_reference_time(*target, in.property_value);
        return Status::success;
    default:
        return Status::unknown_property;
    }
}

} // namespace hypervisor::hypercall
