// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/scheduler/scheduler.hpp"

#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/debug/panic.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

namespace hypervisor::scheduler {

namespace {

/// Where a virtual processor of a child that wakes is to run: where it ran before, unless another
/// LP has less to do.
LogicalProcessor& choose(VirtualProcessor& vp) {
    LogicalProcessor* best = &vp.lp();
    if (vp.is_pinned()) {
        return *best;
    }
    unsigned least = best->load.load(std::memory_order_relaxed);
    for (LogicalProcessor* const lp : LogicalProcessor::all()) {
        const unsigned load = lp->load.load(std::memory_order_relaxed);
        if (load < least && lp->added_to_root.load(std::memory_order_relaxed)) {
            best = lp;
            least = load;
        }
    }
    return *best;
}

/// Under schedule_lock: gives the virtual processor to an LP.
void enqueue(VirtualProcessor& vp, LogicalProcessor& lp) {
    ScheduleEntity& entity = vp.schedule_entity();
    const SpinGuard guard{lp.queue_lock};
    if (&vp.lp() != &lp) {
        lp.queue().adopt(entity, vp.lp().queue());
        vp.set_lp(lp);
    }
    lp.queue().add_woken(entity);
    lp.note_queue_changed();
    vp.place = VirtualProcessor::Place::queued;
    if (!vp.is_pinned()) {
        lp.load.fetch_add(1, std::memory_order_relaxed);
    }
}

/// Whether `vp`, just queued at `lp`, takes the place of what runs there.
bool preempts(LogicalProcessor& lp, VirtualProcessor& vp) {
    const std::uint64_t granularity = clock::from_100ns(wake_granularity_100ns);
    // While the lock is held, what is seen to run is not put back, and lives.
    const SpinGuard guard{lp.queue_lock};
    VirtualProcessor* const running = lp.running();
    if (running == nullptr || running == &vp) {
        return false;
    }
    const std::uint64_t now = read_tsc();
    const std::uint64_t since = lp.running_since();
    const std::uint64_t theirs =
        running->schedule_entity().virtual_time + (now > since ? now - since : 0);
    return vp.schedule_entity().virtual_time + granularity < theirs;
}

VirtualProcessor* find_unpinned(const RunQueue& queue) {
    for (const ScheduleEntity* e = queue.first(); e != nullptr; e = e->next) {
        VirtualProcessor& vp = VirtualProcessor::of(const_cast<ScheduleEntity&>(*e));
        if (!vp.is_pinned()) {
            return &vp;
        }
    }
    return nullptr;
}

/// An LP without work takes a child's virtual processor that waits elsewhere.
VirtualProcessor* steal(LogicalProcessor& thief) {
    if (!thief.added_to_root.load(std::memory_order_relaxed)) {
        return nullptr;
    }
    for (LogicalProcessor* const lp : LogicalProcessor::all()) {
        if (lp == &thief) {
            continue;
        }
        const SpinGuard guard{lp->queue_lock};
        VirtualProcessor* const found = find_unpinned(lp->queue());
        // Locks are taken the other way round; and while this one is held, what is queued lives.
        if (found == nullptr || !found->schedule_lock().try_lock()) {
            continue;
        }
        lp->queue().remove(found->schedule_entity());
        thief.queue().adopt(found->schedule_entity(), lp->queue());
        lp->load.fetch_sub(1, std::memory_order_relaxed);
        thief.load.fetch_add(1, std::memory_order_relaxed);
        found->set_lp(thief);
        found->place = VirtualProcessor::Place::running;
        found->schedule_lock().unlock();
        return found;
    }
    return nullptr;
}

} // namespace

std::uint64_t slice() {
    return clock::from_100ns(slice_100ns);
}

void wake(VirtualProcessor& vp) {
    LogicalProcessor* target;
    {
        const SpinGuard guard{vp.schedule_lock()};
        if (vp.place == VirtualProcessor::Place::queued) {
            return;
        }
        if (vp.place == VirtualProcessor::Place::running) {
            target = &vp.lp();
        } else {
            if (!vp.can_run()) {
                return;
            }
            target = &choose(vp);
            enqueue(vp, *target);
        }
    }
    if (target != &LogicalProcessor::current()) {
        if (target->running() != nullptr && target->running() != &vp && !preempts(*target, vp)) {
            // It waits for its turn; but the one that runs may have no timer set for its slice.
            target->kick();
            return;
        }
        if (target->running() != &vp) {
            target->request_reschedule();
        }
        target->kick();
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
                LogicalProcessor& lp = vp.lp();
                const SpinGuard queue{lp.queue_lock};
                lp.queue().remove(vp.schedule_entity());
                vp.place = VirtualProcessor::Place::nowhere;
                lp.load.fetch_sub(1, std::memory_order_relaxed);
                return;
            }
            vp.lp().kick();
        }
        pause();
    }
}

VirtualProcessor* pick(LogicalProcessor& lp) {
    for (;;) {
        {
            const SpinGuard guard{lp.queue_lock};
            const ScheduleEntity* const first = lp.queue().first();
            if (first == nullptr) {
                break;
            }
            VirtualProcessor& vp = VirtualProcessor::of(const_cast<ScheduleEntity&>(*first));
            // Locks are taken the other way round; and while this one is held, what is queued
            // lives.
            if (vp.schedule_lock().try_lock()) {
                (void)lp.queue().take_first();
                vp.place = VirtualProcessor::Place::running;
                vp.schedule_lock().unlock();
                return &vp;
            }
        }
        pause();
    }
    return steal(lp);
}

void put_back(LogicalProcessor& lp, VirtualProcessor& vp, std::uint64_t ran) {
    const SpinGuard schedule{vp.schedule_lock()};
    const SpinGuard guard{lp.queue_lock};
    lp.queue().charge(vp.schedule_entity(), ran);
    if (vp.can_run()) {
        lp.queue().add_preempted(vp.schedule_entity());
        vp.place = VirtualProcessor::Place::queued;
        return;
    }
    vp.place = VirtualProcessor::Place::nowhere;
    if (!vp.is_pinned()) {
        lp.load.fetch_sub(1, std::memory_order_relaxed);
    }
}

} // namespace hypervisor::scheduler
