// SPDX-License-Identifier: Apache-2.0
// Whom a call is about, and whether the caller may ask for it.
#pragma once

#include "abi/types.h"
#include "hypervisor/hypercall/call.hpp"
#include "hypervisor/partition/partition_table.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <expected>

namespace hypervisor::hypercall {

/// The partition with this id: the caller's own, or a child of it. Only the root has children.
inline PartitionReference find_target(const Call& call, std::uint64_t id) {
    Partition& own = call.caller.partition();
    if (id == HV_PARTITION_ID_SELF || id == own.id()) {
        return partition_table::find(own.id());
    }
    return own.is_root() ? partition_table::find(id) : PartitionReference{};
}

/// The virtual processor of a partition whose state a call is about: any of a child, or the caller
/// itself, which HV_VP_INDEX_SELF says too. Not another one of the caller's partition: two that
/// stop each other would wait for ever, while from parent to child no waiting comes back.
inline std::expected<VirtualProcessor*, Status> find_vp(
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
