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

/// The virtual processor of a partition; HV_VP_INDEX_SELF is the caller, in its own partition.
inline VirtualProcessor* find_vp(const Call& call, Partition& partition, std::uint32_t index) {
    if (index == HV_VP_INDEX_SELF) {
        return &call.caller.partition() == &partition ? &call.caller : nullptr;
    }
    return partition.vp(index);
}

} // namespace hypervisor::hypercall
