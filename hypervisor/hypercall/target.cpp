// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/hypercall/target.hpp"

#include "abi/types.h"

namespace hypervisor::hypercall {

namespace {

bool is_own(const Call& call, std::uint64_t id) {
    return id == HV_PARTITION_ID_SELF || id == call.caller.partition().id();
}

Target find_other(const Call& call, std::uint64_t id) {
    PartitionReference child =
        call.caller.partition().is_root() ? partition_table::find(id) : PartitionReference{};
    const Status status = child ? Status::success : Status::invalid_partition_id;
    return {std::move(child), status};
}

} // namespace

Target find_target(const Call& call, std::uint64_t id) {
    return is_own(call, id)
        ? Target{partition_table::find(call.caller.partition().id()), Status::success}
        : find_other(call, id);
}

Target find_child(const Call& call, std::uint64_t id) {
    return is_own(call, id) ? Target{PartitionReference{}, Status::access_denied}
                            : find_other(call, id);
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
