// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/scheduler/balance.hpp"

#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <algorithm>
#include <utility>

namespace hypervisor::balance {

namespace {

std::int64_t balance_lag() {
    return static_cast<std::int64_t>(clock::from_100ns(scheduler::balance_lag_100ns));
}

bool may_run_on(const VirtualProcessor& vp, const LogicalProcessor& lp) {
    return !vp.is_pinned() && vp.partition().placement.allows(lp.index());
}

/// Whether one that waits should go to an idle LP: always, unless it leaves those that it prefers.
bool is_worth_it(const Placement& where, const LogicalProcessor& from, const LogicalProcessor& to) {
    if (where.prefers(to.index()) || !where.prefers(from.index())) {
        return true;
    }
    const unsigned others = std::max(from.load.load(std::memory_order_relaxed), 1u) - 1;
    return where.cost(to.index(), to.load.load(std::memory_order_relaxed)) <
        where.cost(from.index(), others);
}

/// Takes one of which `f` says yes off another LP's queue; it belongs to `thief` then and its
/// schedule_lock() is held. \return null if there is none that can be had at once.
template <class F>
VirtualProcessor* take(LogicalProcessor& from, LogicalProcessor& thief, F&& f) {
    std::uint64_t time = 0;
    VirtualProcessor* taken = nullptr;
    {
        const SpinGuard guard{from.queue_lock};
        ScheduleEntity* const found = from.queue().find([&](ScheduleEntity& entity) {
            VirtualProcessor& vp = VirtualProcessor::of(entity);
            return may_run_on(vp, thief) && f(vp);
        });
        // Locks are taken the other way round; and while this one is held, what is queued lives.
        if (found == nullptr || !VirtualProcessor::of(*found).schedule_lock().try_lock()) {
            return nullptr;
        }
        taken = &VirtualProcessor::of(*found);
        from.queue().remove(*found);
        taken->set_lp(thief);
        time = from.queue().virtual_time();
    }
    from.load.fetch_sub(1, std::memory_order_relaxed);
    thief.load.fetch_add(1, std::memory_order_relaxed);
    const SpinGuard guard{thief.queue_lock};
    if (thief.queue().empty() && thief.running() == nullptr) {
        thief.queue().catch_up(time);
    }
    thief.queue().adopt(taken->schedule_entity());
    return taken;
}

scheduler::Turn run_here(LogicalProcessor& thief, VirtualProcessor& vp) {
    vp.place = VirtualProcessor::Place::running;
    scheduler::Turn turn{.vp = &vp};
    {
        const SpinGuard guard{thief.queue_lock};
        turn.most = allowance(vp, read_tsc());
    }
    vp.schedule_lock().unlock();
    return turn;
}

/// Its queue's time, and what the one that runs has had since that was put right.
std::uint64_t time_of(const LogicalProcessor& lp, std::uint64_t now) {
    const std::uint64_t since = lp.running_since();
    const bool runs = lp.running() != nullptr && now > since;
    return lp.queue().virtual_time() + (runs ? now - since : 0);
}

} // namespace

LogicalProcessor& choose(const VirtualProcessor& vp) {
    LogicalProcessor* best = &vp.lp();
    if (vp.is_pinned()) {
        return *best;
    }
    const Placement& where = vp.partition().placement;
    unsigned least = where.cost(best->index(), best->load.load(std::memory_order_relaxed));
    for (LogicalProcessor* const lp : LogicalProcessor::all()) {
        const unsigned cost = where.cost(lp->index(), lp->load.load(std::memory_order_relaxed));
        if (cost < least && lp->added_to_root.load(std::memory_order_relaxed)) {
            best = lp;
            least = cost;
        }
    }
    return *best;
}

std::uint64_t latest() {
    std::uint64_t result = LogicalProcessor::current().queue().virtual_time();
    for (const LogicalProcessor* const lp : LogicalProcessor::all()) {
        const std::uint64_t time = lp->queue().virtual_time();
        result = ScheduleEntity::lead(time, result) > 0 ? time : result;
    }
    return result;
}

std::uint64_t allowance(VirtualProcessor& vp, std::uint64_t now) {
    ScheduleEntity& entity = vp.schedule_entity();
    if (!entity.is_limited) {
        return TimerEntry::never;
    }
    return static_cast<std::uint64_t>(std::max<std::int64_t>(entity.cap.left(now), 0));
}

scheduler::Turn take_any(LogicalProcessor& thief) {
    if (scheduler::root_schedules() || !thief.added_to_root.load(std::memory_order_relaxed)) {
        return {};
    }
    for (LogicalProcessor* const lp : LogicalProcessor::all()) {
        if (lp == &thief || lp->queue().least() == RunQueue::nobody) {
            continue;
        }
        const auto may_go = [&from = *lp, &thief](VirtualProcessor& vp) {
            return is_worth_it(vp.partition().placement, from, thief);
        };
        if (VirtualProcessor* const vp = take(*lp, thief, may_go); vp != nullptr) {
            return run_here(thief, *vp);
        }
    }
    return {};
}

scheduler::Turn take_one_in_need(LogicalProcessor& thief) {
    const std::uint64_t own = thief.queue().least();
    if (own == RunQueue::nobody || scheduler::root_schedules()) {
        return {};
    }
    for (LogicalProcessor* const lp : LogicalProcessor::all()) {
        const std::uint64_t least = lp->queue().least();
        // What waits for an LP that runs nothing will not do so for long.
        if (lp == &thief || least == RunQueue::nobody || lp->running() == nullptr ||
            ScheduleEntity::lead(own, least) <= balance_lag()) {
            continue;
        }
        const auto is_better_here = [&thief, own](VirtualProcessor& vp) {
            return vp.partition().placement.prefers(thief.index()) &&
                ScheduleEntity::lead(own, vp.schedule_entity().virtual_time) > balance_lag();
        };
        if (VirtualProcessor* const vp = take(*lp, thief, is_better_here); vp != nullptr) {
            return run_here(thief, *vp);
        }
    }
    return {};
}

void offer(LogicalProcessor& lp) {
    std::uint64_t least = 0;
    {
        const SpinGuard guard{lp.queue_lock};
        const ScheduleEntity* const first = lp.queue().find(
            [](ScheduleEntity& entity) { return !VirtualProcessor::of(entity).is_pinned(); });
        if (first == nullptr) {
            return;
        }
        least = first->virtual_time;
    }
    const std::uint64_t now = read_tsc();
    for (LogicalProcessor* const other : LogicalProcessor::all()) {
        if (other == &lp || !other->added_to_root.load(std::memory_order_relaxed)) {
            continue;
        }
        const bool idle = other->idle.load(std::memory_order_relaxed);
        if (idle || ScheduleEntity::lead(time_of(*other, now), least) > balance_lag()) {
            other->request_reschedule();
            other->kick();
            return;
        }
    }
}

void hand_over(VirtualProcessor& parent, VirtualProcessor& child) {
    const auto most = static_cast<std::int64_t>(clock::from_100ns(scheduler::slice_100ns));
    LogicalProcessor& lp = LogicalProcessor::current();
    const SpinGuard guard{lp.queue_lock};
    ScheduleEntity& next = child.schedule_entity();
    const bool is_here = &child.lp() == &lp && next.is_queued();
    if (!is_here || next.list == ScheduleEntity::List::parked) {
        return;
    }
    const std::uint64_t now = read_tsc();
    ScheduleEntity& own = parent.schedule_entity();
    const std::uint64_t reached = own.virtual_time + own.weighted(now - lp.running_since());
    const std::int64_t ahead = ScheduleEntity::lead(next.virtual_time, reached);
    if (ahead > most) {
        return;
    }
    if (ahead > 0) { // the parent gives it of its own time
        lp.queue().remove(next);
        next.virtual_time -= static_cast<std::uint64_t>(ahead);
        own.virtual_time += static_cast<std::uint64_t>(ahead);
        lp.queue().add_preempted(next, now);
    }
    lp.request_reschedule();
}

bool yield_to_peer(VirtualProcessor& spinner) {
    LogicalProcessor& lp = LogicalProcessor::current();
    const auto is_peer = [&spinner](const VirtualProcessor& vp) {
        return &vp.partition() == &spinner.partition();
    };
    // It is behind the other then, as far as it was ahead: nobody else waits longer for it.
    const auto swap_places = [&spinner](ScheduleEntity& peer) {
        std::uint64_t& own = spinner.schedule_entity().virtual_time;
        if (ScheduleEntity::lead(peer.virtual_time, own) > 0) {
            std::swap(peer.virtual_time, own);
        }
    };
    {
        const SpinGuard guard{lp.queue_lock};
        ScheduleEntity* const peer = lp.queue().find(
            [&](ScheduleEntity& entity) { return is_peer(VirtualProcessor::of(entity)); });
        if (peer != nullptr) {
            lp.queue().remove(*peer);
            swap_places(*peer);
            lp.queue().add_preempted(*peer, read_tsc());
            return true;
        }
    }
    for (LogicalProcessor* const other : LogicalProcessor::all()) {
        if (other == &lp || other->queue().least() == RunQueue::nobody) {
            continue;
        }
        if (VirtualProcessor* const vp = take(*other, lp, is_peer); vp != nullptr) {
            {
                const SpinGuard guard{lp.queue_lock};
                swap_places(vp->schedule_entity());
                lp.queue().add_preempted(vp->schedule_entity(), read_tsc());
            }
            vp->schedule_lock().unlock();
            return true;
        }
    }
    return false;
}

} // namespace hypervisor::balance
