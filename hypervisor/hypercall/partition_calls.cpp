// SPDX-License-Identifier: Apache-2.0
#include "abi/cpuid.h"
#include "abi/partition.h"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/hypercall/target.hpp"
#include "hypervisor/partition/lifecycle.hpp"
#include "hypervisor/partition/machine_statistics.hpp"

#include <cstring>

namespace hypervisor::hypercall {

namespace {

/// What a child may do before its parent says more: everything that needs no trust.
constexpr std::uint64_t child_privileges = HV_ACCESS_VP_RUN_TIME_REG |
    HV_ACCESS_PARTITION_REFERENCE_COUNTER | HV_ACCESS_SYNIC_REGS | HV_ACCESS_SYNTHETIC_TIMER_REGS |
    HV_ACCESS_INTR_CTRL_REGS | HV_ACCESS_HYPERCALL_MSRS | HV_ACCESS_VP_INDEX |
    HV_ACCESS_PARTITION_REFERENCE_TSC | HV_ACCESS_FREQUENCY_REGS | HV_POST_MESSAGES |
    HV_SIGNAL_EVENTS;

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

} // namespace hypervisor::hypercall
