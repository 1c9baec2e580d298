// SPDX-License-Identifier: Apache-2.0
#include "abi/partition.h"
#include "hypervisor/hypercall/privileges.hpp"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/hypercall/target.hpp"
#include "hypervisor/partition/lifecycle.hpp"
#include "hypervisor/partition/machine_statistics.hpp"

#include <cstring>

namespace hypervisor::hypercall {

Status create_partition(Call& call) {
    const auto in = call.in<hv_input_create_partition>();
    const auto partition = lifecycle::create_partition(call.caller.partition(), in.flags);
    if (!partition) {
        return partition.error();
    }
    Partition& child = **partition;
    std::memcpy(child.disabled_features.banks.data(), in.disabled_processor_features,
        sizeof in.disabled_processor_features);
    child.disabled_features.xsave = in.disabled_processor_xsave_features;
    child.synthetic_features = child_features;
    child.set_privileges(privileges_of(child_features) | privileges_by_processor(child));
    call.out(hv_output_create_partition{.partition_id = child.id()});
    return Status::success;
}

Status initialize_partition(Call& call) {
    const auto target = find_child(call, call.in<hv_input_partition>().partition_id);
    if (!target) {
        return target.error();
    }
    return lifecycle::initialize(*target);
}

Status finalize_partition(Call& call) {
    const auto target = find_child(call, call.in<hv_input_partition>().partition_id);
    if (!target) {
        return target.error();
    }
    return lifecycle::finalize(*target) ? Status::success : Status::invalid_partition_state;
}

Status delete_partition(Call& call) {
    Partition* partition = nullptr;
    {
        const auto target = find_child(call, call.in<hv_input_partition>().partition_id);
        if (!target) {
            return target.error();
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
