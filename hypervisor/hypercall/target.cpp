// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/hypercall/target.hpp"

#include "abi/types.h"

namespace hypervisor::hypercall {

Target find_target(const Call& call, std::uint64_t id) {
    Partition& own = call.caller.partition();
    if (id == HV_PARTITION_ID_SELF || id == own.id()) {
        return {partition_table::find(own.id()), Status::success};
    }
    if (own.is_root()) {
        PartitionReference child = partition_table::find(id);
        if (child) {
            return {std::move(child), Status::success};
        }
    }
    return {PartitionReference{}, Status::invalid_partition_id};
}

Target find_child(const Call& call, std::uint64_t id) {
    Target found = find_target(call, id);
    if (found && &*found == &call.caller.partition()) {
        return {PartitionReference{}, Status::access_denied};
    }
    return found;
}

Target find_active_child(const Call& call, std::uint64_t id) {
    Target found = find_child(call, id);
    if (found && found->state() != Partition::State::initialized) {
        return {PartitionReference{}, Status::invalid_partition_state};
    }
    return found;
}

TargetVp find_childs_vp(const Call& call, std::uint64_t id, std::uint32_t index) {
    return {find_child(call, id), index};
}

std::expected<VirtualProcessor*, Status> find_vp(
    const Call& call, Partition& partition, std::uint32_t index) {
    const bool is_own = &call.caller.partition() == &partition;
    VirtualProcessor* const vp =
        index == HV_VP_INDEX_SELF && is_own ? &call.caller : partition.vp(index);
    if (vp == nullptr) {
        return std::unexpected(Status::invalid_vp_index);
    }
    if (is_own && vp != &call.caller) {
        return std::unexpected(Status::invalid_vp_state);
    }
    return vp;
}

} // namespace hypervisor::hypercall
