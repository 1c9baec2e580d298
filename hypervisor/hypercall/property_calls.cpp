// SPDX-License-Identifier: Apache-2.0
// Properties of partitions: what a parent asks of the machine, by its own partition's, and of a
// child, and what it decides about a child.
#include "abi/exit_trace.h"
#include "abi/partition.h"
#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/extended_state.hpp"
#include "hypervisor/hypercall/privileges.hpp"
#include "hypervisor/hypercall/property_table.hpp"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/hypercall/target.hpp"
#include "hypervisor/partition/cpuid_policy.hpp"
#include "hypervisor/partition/machine_statistics.hpp"
#include "hypervisor/partition/time.hpp"
#include "hypervisor/scheduler/policy.hpp"
#include "hypervisor/trace/exit_trace.hpp"

#include <algorithm>

namespace hypervisor::hypercall {

namespace {

/// While it is on, the state of each 4 KiB tells whether they were accessed and written.
Status track_page_access(Partition& partition, std::uint32_t /*code*/, std::uint64_t value) {
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

Property tracks_page_access(Partition& partition, std::uint32_t /*code*/) {
    const SpinGuard guard{partition.space_lock()};
    return partition.space().slat().tracks_pages() ? 1 : 0;
}

Status set_synthetic_features(Partition& partition, std::uint32_t /*code*/, std::uint64_t value) {
    if (partition.state() != Partition::State::created) {
        return Status::invalid_partition_state;
    }
    partition.synthetic_features = value & assignable_features;
    partition.set_privileges(privileges_of(value) | privileges_by_processor(partition));
    return Status::success;
}

Status set_privileges(Partition& partition, std::uint32_t /*code*/, std::uint64_t value) {
    if ((value & ~assignable_privileges) != 0) {
        return Status::property_value_out_of_range;
    }
    if (partition.state() != Partition::State::created) {
        return Status::invalid_partition_state;
    }
    partition.set_privileges(value);
    return Status::success;
}

Status set_processors_per_socket(
    Partition& partition, std::uint32_t /*code*/, std::uint64_t value) {
    if (value == 0 || value > Partition::most_vps) {
        return Status::property_value_out_of_range;
    }
    partition.processors_per_socket = static_cast<std::uint32_t>(value);
    partition.cpuid_changed();
    return Status::success;
}

Status set_time_freeze(Partition& partition, std::uint32_t /*code*/, std::uint64_t value) {
    if (value > 1) {
        return Status::property_value_out_of_range;
    }
    time::stand_still(partition, value == 1);
    return Status::success;
}

Status set_unimplemented_msr_action(
    Partition& partition, std::uint32_t /*code*/, std::uint64_t value) {
    if (value > HV_UNIMPLEMENTED_MSR_ACTION_IGNORE_WRITE_READ_ZERO) {
        return Status::property_value_out_of_range;
    }
    partition.unimplemented_msr_action = value;
    return Status::success;
}

template <unsigned bank>
Property processor_features(Partition& partition, std::uint32_t /*code*/) {
    return cpuid_policy::processor_features(bank, partition.disabled_features, cpuid);
}

/// What a partition was given and has become; and what its processors are: the caller's own
/// partition's are the machine's, as a child can have them.
constexpr PropertyRow rows[] = {
    {NAMED(HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS),
        [](Partition& of, std::uint32_t) -> Property { return of.privileges(); }, set_privileges},
    {NAMED(HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES),
        [](Partition& of, std::uint32_t) -> Property { return of.synthetic_features; },
        set_synthetic_features},
    {NAMED(HV_PARTITION_PROPERTY_CPU_RESERVE), policy::get, policy::set},
    {NAMED(HV_PARTITION_PROPERTY_CPU_CAP), policy::get, policy::set},
    {NAMED(HV_PARTITION_PROPERTY_CPU_WEIGHT), policy::get, policy::set},
    {NAMED(HV_PARTITION_PROPERTY_PROXIMITY_DOMAIN), policy::get, policy::set},
    {NAMED(HV_PARTITION_PROPERTY_TIME_FREEZE),
        [](Partition& of, std::uint32_t) -> Property { return of.clock().stands_still() ? 1 : 0; },
        set_time_freeze},
    {NAMED(HV_PARTITION_PROPERTY_REFERENCE_TIME),
        [](Partition& of, std::uint32_t) -> Property { return of.reference_time(); },
        [](Partition& of, std::uint32_t, std::uint64_t value) {
            time::set_reference(of, value);
            return Status::success;
        }},
    {NAMED(HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET),
        [](Partition& of, std::uint32_t) -> Property { return of.processors_per_socket; },
        set_processors_per_socket},
    {NAMED(HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING), tracks_page_access, track_page_access},
    {NAMED(HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION),
        [](Partition& of, std::uint32_t) -> Property { return of.unimplemented_msr_action; },
        set_unimplemented_msr_action},
    {NAMED(HV_PARTITION_PROPERTY_PROCESSOR_VENDOR),
        [](Partition&, std::uint32_t) -> Property { return 0; }, nullptr}, // AMD
    {NAMED(HV_PARTITION_PROPERTY_PROCESSOR_FEATURES_DEPRECATED), processor_features<0>, nullptr},
    {NAMED(HV_PARTITION_PROPERTY_PROCESSOR_XSAVE_FEATURES),
        [](Partition& of, std::uint32_t) -> Property {
            return cpuid_policy::xsave_features(of.disabled_features, cpuid);
        },
        nullptr},
    {NAMED(HV_PARTITION_PROPERTY_PROCESSOR_CL_FLUSH_SIZE),
        [](Partition&, std::uint32_t) -> Property { return ((cpuid(1).ebx >> 8) & 0xff) * 8; },
        nullptr},
    {NAMED(HV_PARTITION_PROPERTY_PHYSICAL_ADDRESS_WIDTH),
        [](Partition&, std::uint32_t) -> Property { return cpuid(0x80000008).eax & 0xff; },
        nullptr},
    {NAMED(HV_PARTITION_PROPERTY_XSAVE_STATES),
        [](Partition& of, std::uint32_t) -> Property { return of.states(); }, nullptr},
    {NAMED(HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE),
        [](Partition& of, std::uint32_t) -> Property {
            return std::max(
                extended_state::size(of.states()), extended_state::compacted_size(of.states()));
        },
        nullptr},
    {NAMED(HV_PARTITION_PROPERTY_PROCESSOR_CLOCK_FREQUENCY),
        [](Partition&, std::uint32_t) -> Property { return clock::tsc_frequency(); }, nullptr},
    {NAMED(HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0), processor_features<0>, nullptr},
    {NAMED(HV_PARTITION_PROPERTY_PROCESSOR_FEATURES1), processor_features<1>, nullptr},
    {NAMED(HV_PARTITION_VP_PROPERTY_SCHEDULING_AFFINITY_SET), policy::get, policy::set},
};

/// Those that HvCallGetPartitionPropertyEx tells.
constexpr PropertyRow ex_rows[] = {
    {NAMED(HV_PARTITION_PROPERTY_VMM_CAPABILITIES),
        [](Partition&, std::uint32_t) -> Property { return 0; }, nullptr},
    {NAMED(HV_PARTITION_PROPERTY_ASSIGNABLE_SYNTHETIC_PROC_FEATURES),
        [](Partition&, std::uint32_t) -> Property { return assignable_features; }, nullptr},
};

const PropertyRow* find(std::span<const PropertyRow> table, std::uint32_t code) {
    const auto found = std::ranges::find(table, code, &PropertyRow::first);
    return found != table.end() ? &*found : nullptr;
}

} // namespace

constinit const std::span<const PropertyRow> properties{rows};
constinit const std::span<const PropertyRow> ex_properties{ex_rows};

Status get_partition_property(Call& call) {
    const auto in = call.in<hv_input_get_partition_property>();
    const auto target = find_target(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    const PropertyRow* const row = find(properties, in.property_code);
    const Property value = row != nullptr ? row->get(*target, in.property_code) : std::nullopt;
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
        return target.error();
    }
    if (target->is_root() && exit_trace::is_property(in.property_code)) {
        return exit_trace::get_property(
            in.property_code, in.arg, *reinterpret_cast<hv_exit_trace*>(call.output.data()));
    }
    const PropertyRow* const row = find(ex_properties, in.property_code);
    if (row == nullptr) {
        return Status::unknown_property;
    }
    const std::uint64_t bank = row->get(*target, in.property_code).value_or(0);
    call.out(hv_partition_property_banks{.bank_count = 1, .reserved = {}, .bank0 = bank});
    return Status::success;
}

Status set_partition_property(Call& call) {
    const auto in = call.in<hv_input_set_partition_property>();
    const auto target = find_child(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    const PropertyRow* const row = find(properties, in.property_code);
    return row != nullptr && row->set != nullptr
        ? row->set(*target, in.property_code, in.property_value)
        : Status::unknown_property;
}

} // namespace hypervisor::hypercall
