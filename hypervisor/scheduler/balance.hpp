// SPDX-License-Identifier: Apache-2.0
// Between the logical processors' queues.
#pragma once

#include "hypervisor/scheduler/scheduler.hpp"

#include <cstdint>

namespace hypervisor::balance {

/// Where a virtual processor that wakes is to run: where it ran before, unless another LP that it
/// may run on has less to do. Under its schedule_lock().
LogicalProcessor& choose(const VirtualProcessor& vp);

/// The latest virtual time of all queues.
std::uint64_t latest();

/// For how long one that is about to run may do so. Under the LP's queue_lock.
std::uint64_t allowance(VirtualProcessor& vp, std::uint64_t now);

/// An LP without work takes a child's virtual processor that waits elsewhere.
scheduler::Turn take_any(LogicalProcessor& thief);
/// It takes one that is further behind than all that it has itself.
scheduler::Turn take_one_in_need(LogicalProcessor& thief);
/// What waits on this LP has done so for a while: another LP that has time is made to look.
void offer(LogicalProcessor& lp);

/// The virtual processor, which runs on this LP, spins until another one of its partition has done
/// something: one that waits for its turn takes its place. \return false if there is none.
bool yield_to_peer(VirtualProcessor& spinner);

/// The parent, which runs on this LP, has let the child's go on and is about to wait for what it
/// comes to next: if it waits for this LP it has its turn at once, with time of the parent's if
/// need be. Not one that is far ahead.
void hand_over(VirtualProcessor& parent, VirtualProcessor& child);

} // namespace hypervisor::balance
