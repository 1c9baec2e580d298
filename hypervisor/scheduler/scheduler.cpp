// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/scheduler/scheduler.hpp"

#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/debug/panic.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"
#include "hypervisor/scheduler/balance.hpp"
#include "hypervisor/scheduler/root_dispatch.hpp"

namespace hypervisor::scheduler {

namespace {

constinit bool root_schedules_children = false;

/// Under schedule_lock: gives the virtual processor to an LP.
void enqueue(VirtualProcessor& vp, LogicalProcessor& lp) {
    ScheduleEntity& entity = vp.schedule_entity();
    const SpinGuard guard{lp.queue_lock};
    if (&vp.lp() != &lp) {
        lp.queue().adopt(entity);
        vp.set_lp(lp);
    }
    lp.queue().add_woken(entity, read_tsc());
    lp.note_queue_changed();
    vp.place = VirtualProcessor::Place::queued;
    if (!vp.is_pinned()) {
        lp.load.fetch_add(1, std::memory_order_relaxed);
    }
}

/// Whether `vp`, just queued at `lp`, takes the place of what runs there.
bool preempts(LogicalProcessor& lp, VirtualProcessor& vp) {
    const auto granularity = static_cast<std::int64_t>(clock::from_100ns(wake_granularity_100ns));
    // While the lock is held, what is seen to run is not put back, and lives.
    const SpinGuard guard{lp.queue_lock};
    VirtualProcessor* const running = lp.running();
    const ScheduleEntity& own = vp.schedule_entity();
    if (running == nullptr || running == &vp || own.list == ScheduleEntity::List::parked) {
        return false;
    }
    ScheduleEntity& theirs = running->schedule_entity();
    const std::uint64_t now = read_tsc();
    const std::uint64_t since = lp.running_since();
    const std::uint64_t ran = now > since ? now - since : 0;
    const bool is_entitled = own.list == ScheduleEntity::List::entitled;
    const bool other_is_entitled =
        theirs.is_entitled(now) && theirs.reserve.left(now) > static_cast<std::int64_t>(ran);
    if (is_entitled != other_is_entitled) {
        return is_entitled;
    }
    return ScheduleEntity::lead(theirs.virtual_time + theirs.weighted(ran), own.virtual_time) >
        granularity;
}

/// Something has happened to one that is running.
void notify_running(const VirtualProcessor& vp) {
    LogicalProcessor& lp = vp.lp();
    // It may have dispatched a child's, which gives it back the LP.
    if (vp.is_pinned() && lp.running() != &vp) {
        lp.request_reschedule();
    }
    if (&lp != &LogicalProcessor::current()) {
        lp.kick();
    }
}

/// It has been queued at `target`, which is told if it must do something about it.
void notify_queued(const VirtualProcessor& vp, LogicalProcessor& target) {
    if (&target == &LogicalProcessor::current()) {
        return;
    }
    if (target.running() != &vp) {
        target.request_reschedule();
    }
    target.kick();
}

/// Under schedule_lock: takes it off its LP's queue.
void dequeue(VirtualProcessor& vp) {
    LogicalProcessor& lp = vp.lp();
    const SpinGuard queue{lp.queue_lock};
    lp.queue().remove(vp.schedule_entity());
    vp.schedule_entity().end_wait(read_tsc());
    vp.place = VirtualProcessor::Place::nowhere;
    lp.load.fetch_sub(1, std::memory_order_relaxed);
}

bool is_well_placed(const VirtualProcessor& vp) {
    return vp.is_pinned() || vp.partition().placement.allows(vp.lp().index());
}

/// Under queue_lock of its LP.
void give(ScheduleEntity& entity, const Share& share, bool is_patient) {
    const std::uint64_t now = read_tsc();
    const std::uint64_t period = clock::from_100ns(period_100ns);
    entity.weight = share.weight;
    entity.is_patient = is_patient;
    if (entity.cap.fraction() != share.cap) {
        entity.cap.set(share.cap, period, now);
        entity.is_limited = share.cap < Bandwidth::whole;
    }
    if (entity.reserve.fraction() != share.reserve) {
        entity.reserve.set(share.reserve, period, now);
    }
}

/// Takes the first of the LP's own queue.
Turn take_first(LogicalProcessor& lp) {
    for (;;) {
        {
            const SpinGuard guard{lp.queue_lock};
            const std::uint64_t now = read_tsc();
            lp.queue().refresh(now);
            ScheduleEntity* const first = lp.queue().first();
            if (first == nullptr) {
                return {};
            }
            VirtualProcessor& vp = VirtualProcessor::of(*first);
            // Locks are taken the other way round; and while this one is held, what is queued
            // lives.
            if (vp.schedule_lock().try_lock()) {
                (void)lp.queue().take_first();
                vp.place = VirtualProcessor::Place::running;
                vp.schedule_lock().unlock();
                return {.vp = &vp, .most = balance::allowance(vp, now)};
            }
        }
        pause();
    }
}

} // namespace

bool root_schedules() {
    return root_schedules_children;
}
void set_root_schedules(bool on) {
    root_schedules_children = on;
}

void wake(VirtualProcessor& vp) {
    if (root_schedules_children && !vp.is_pinned()) {
        root_dispatch::wake(vp);
        return;
    }
    LogicalProcessor* target;
    {
        const SpinGuard guard{vp.schedule_lock()};
        if (vp.place == VirtualProcessor::Place::queued) {
            return;
        }
        if (vp.place == VirtualProcessor::Place::running) {
            notify_running(vp);
            return;
        }
        if (!vp.can_run()) {
            return;
        }
        target = &balance::choose(vp);
        enqueue(vp, *target);
    }
    if (target != &LogicalProcessor::current()) {
        if (target->running() != nullptr && target->running() != &vp && !preempts(*target, vp)) {
            // It waits for its turn; but the one that runs may have no timer set for its slice.
            target->kick();
            return;
        }
        notify_queued(vp, *target);
    } else if (preempts(*target, vp)) {
        target->request_reschedule();
    }
}

void stop(VirtualProcessor& vp) {
    require(!vp.is_pinned(), "a virtual processor of the root is stopped, which has no parent");
    for (;;) {
        {
            const SpinGuard guard{vp.schedule_lock()};
            if (vp.place == VirtualProcessor::Place::nowhere) {
                return;
            }
            if (vp.place == VirtualProcessor::Place::queued) {
                dequeue(vp);
                return;
            }
            vp.lp().kick();
        }
        pause();
    }
}

void set_share(VirtualProcessor& vp, const Share& share) {
    LogicalProcessor* target = nullptr;
    {
        const SpinGuard guard{vp.schedule_lock()};
        const bool queued = vp.place == VirtualProcessor::Place::queued;
        LogicalProcessor& lp = vp.lp();
        {
            const SpinGuard queue{lp.queue_lock};
            ScheduleEntity& entity = vp.schedule_entity();
            if (queued) {
                lp.queue().remove(entity);
            }
            give(entity, share, vp.is_pinned());
            if (queued) {
                lp.queue().add_preempted(entity, read_tsc());
                lp.note_queue_changed();
            }
        }
        target = &lp;
        if (queued && !is_well_placed(vp)) {
            dequeue(vp);
            target = &balance::choose(vp);
            enqueue(vp, *target);
        }
        if (vp.place == VirtualProcessor::Place::nowhere) {
            return;
        }
    }
    // One that runs begins its turn anew, with what it may have now.
    target->request_reschedule();
    target->kick();
}

Turn pick(LogicalProcessor& lp, Before before) {
    if (before == Before::sleep) {
        const std::uint64_t latest = balance::latest();
        const SpinGuard guard{lp.queue_lock};
        lp.queue().catch_up(latest);
    }
    if (before == Before::whole_turn) {
        if (const Turn turn = balance::take_one_in_need(lp); turn.vp != nullptr) {
            return turn;
        }
    }
    const Turn turn = take_first(lp);
    if (turn.vp == nullptr) {
        return balance::take_any(lp);
    }
    if (before == Before::whole_turn) {
        balance::offer(lp);
    }
    return turn;
}

void put_back(LogicalProcessor& lp, VirtualProcessor& vp, std::uint64_t ran) {
    const SpinGuard schedule{vp.schedule_lock()};
    require(vp.place == VirtualProcessor::Place::running, "what is put back has not run");
    {
        const SpinGuard guard{lp.queue_lock};
        const std::uint64_t now = read_tsc();
        lp.queue().charge(vp.schedule_entity(), ran, now);
        if (vp.can_run() && is_well_placed(vp)) {
            lp.queue().add_preempted(vp.schedule_entity(), now);
            vp.place = VirtualProcessor::Place::queued;
            return;
        }
    }
    vp.place = VirtualProcessor::Place::nowhere;
    if (!vp.is_pinned()) {
        lp.load.fetch_sub(1, std::memory_order_relaxed);
    }
    if (vp.can_run()) {
        LogicalProcessor& target = balance::choose(vp);
        enqueue(vp, target);
        notify_queued(vp, target);
    }
}

} // namespace hypervisor::scheduler
