// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/logical_processor.hpp"

#include "hypervisor/cpu/branch_barrier.hpp"
#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/cpu/physical_apic.hpp"
#include "hypervisor/debug/panic.hpp"
#include "hypervisor/partition/machine_statistics.hpp"
#include "hypervisor/partition/virtual_processor.hpp"
#include "hypervisor/scheduler/scheduler.hpp"

#include <algorithm>

namespace hypervisor {

namespace {

constinit std::array<LogicalProcessor*, LogicalProcessor::most> processors{};
constinit std::atomic<unsigned> processor_count{0};

} // namespace

std::span<LogicalProcessor* const> LogicalProcessor::all() {
    return {processors.data(), processor_count.load(std::memory_order_acquire)};
}

void LogicalProcessor::add(LogicalProcessor& lp) {
    const unsigned count = processor_count.load();
    require(count < most, "more logical processors are started than there is room for");
    processors[count] = &lp;
    processor_count.store(count + 1, std::memory_order_release);
}

void LogicalProcessor::run() {
    using scheduler::Before;
    begin_ = read_tsc();
    Before before = Before::sleep;
    for (;;) {
        expire_timers();
        reschedule_.store(false, std::memory_order_seq_cst);
        const scheduler::Turn turn = scheduler::pick(*this, before);
        if (turn.vp == nullptr) {
            sleep();
            before = Before::sleep;
            continue;
        }
        const std::uint64_t slice = clock::from_100ns(scheduler::slice_100ns);
        const std::uint64_t begin = read_tsc();
        running_since_.store(begin, std::memory_order_relaxed);
        running_.store(turn.vp, std::memory_order_relaxed);
        slice_end_ = begin + slice;
        limit_end_ = turn.most != TimerEntry::never ? begin + turn.most : TimerEntry::never;
        note_turn_changed();
        ++context_switches;
        change_partition(turn.vp->partition());
        turn.vp->run(*this);
        running_.store(nullptr, std::memory_order_relaxed);
        const std::uint64_t ran = read_tsc() - begin;
        guest_time += ran;
        machine_statistics::refresh(*this);
        scheduler::put_back(*this, *turn.vp, ran);
        before = ran >= slice / 2 ? Before::whole_turn : Before::part_of_a_turn;
    }
}

void LogicalProcessor::run_in_place_of(
    VirtualProcessor& outer, VirtualProcessor& vp, std::uint64_t until) {
    // An event from now on asks for the LP; one from before is there already.
    running_.store(&vp, std::memory_order_seq_cst);
    if (!outer.has_event()) {
        ++context_switches;
        const std::uint64_t begin = read_tsc();
        limit(until);
        outer.cpu().save();
        change_partition(vp.partition());
        vp.run(*this);
        change_partition(outer.partition());
        outer.cpu().load();
        limit(TimerEntry::never);
        outer.lend(read_tsc() - begin);
    }
    running_.store(&outer, std::memory_order_seq_cst);
    reschedule_.store(false, std::memory_order_seq_cst); // that is what has happened
}

/// How long the one that runs may go on at most.
void LogicalProcessor::limit(std::uint64_t until) {
    if (until != limit_end_) {
        limit_end_ = until;
        note_turn_changed();
    }
}

void LogicalProcessor::change_partition(const Partition& to) {
    if (last_partition_ != &to) {
        last_partition_ = &to;
        branch_barrier::issue();
    }
}

/// Another processor that asks may be off by what is happening just now, but never gets less than
/// nothing.
std::uint64_t LogicalProcessor::hypervisor_time(std::uint64_t now) const {
    const auto since = [now](std::uint64_t begin) {
        return now > begin ? now - begin : 0;
    };
    std::uint64_t others = guest_time + sleep_time_;
    if (running() != nullptr) {
        others += since(running_since());
    } else if (idle.load(std::memory_order_relaxed)) {
        others += since(sleep_begin_);
    }
    const std::uint64_t all = since(begin_);
    return all > others ? all - others : 0;
}

void LogicalProcessor::sleep() {
    slice_end_ = limit_end_ = TimerEntry::never;
    begin_sleep();
    arm_timer();
    bool empty;
    {
        const SpinGuard guard{queue_lock};
        empty = queue_.empty();
    }
    if (empty) {
        ++halts;
        wait_for_interrupt();
    }
    end_sleep();
}

void LogicalProcessor::begin_sleep() {
    sleep_begin_ = read_tsc();
    idle.store(true, std::memory_order_seq_cst);
}

void LogicalProcessor::end_sleep() {
    if (idle.exchange(false, std::memory_order_seq_cst)) {
        sleep_time_ += read_tsc() - sleep_begin_;
        sleeps_.fetch_add(1, std::memory_order_seq_cst);
    }
}

void LogicalProcessor::expire_timers() {
    const std::uint64_t now = read_tsc();
    for (;;) {
        TimerEntry* entry;
        {
            const SpinGuard guard{queue_lock};
            entry = timers_.take_due(now);
        }
        if (entry == nullptr) {
            return;
        }
        VirtualProcessor::of(*entry).notify_event();
    }
}

void LogicalProcessor::arm_timer() {
    std::uint64_t deadline;
    {
        const SpinGuard guard{queue_lock};
        queue_changed_.store(false, std::memory_order_relaxed);
        turn_end_ = std::min(limit_end_, queue_.next_release());
        if (!queue_.empty()) {
            turn_end_ = std::min(turn_end_, slice_end_);
        }
        deadline = std::min(timers_.next_deadline(), turn_end_);
    }
    const std::uint64_t now = read_tsc();
    // One that is overdue is set again.
    if (deadline == armed_for_ && now < deadline) {
        return;
    }
    armed_for_ = deadline;
    if (deadline == TimerEntry::never) {
        physical_apic::start_timer(0);
        return;
    }
    physical_apic::start_timer(clock::apic_ticks(deadline > now ? deadline - now : 0));
}

std::uint64_t& LogicalProcessor::counter_of(std::uint8_t vector) {
    switch (vector) {
    case physical_apic::timer_vector:
        return timer_interrupts;
    case physical_apic::kick_vector:
        return reschedule_requested() ? scheduler_interrupts : processor_interrupts;
    default:
        return hardware_interrupts;
    }
}

void LogicalProcessor::handle_interrupt(std::uint8_t vector) {
    end_sleep();
    ++counter_of(vector);
    // Often enough for those who look, and seldom for those who are interrupted often.
    if (const std::uint64_t now = read_tsc(); now >= statistics_due_) {
        constexpr std::uint64_t period_100ns = 10'000;
        statistics_due_ = now + clock::from_100ns(period_100ns);
        machine_statistics::refresh(*this);
    }
    if (vector == physical_apic::spurious_vector) {
        return;
    }
    if (vector == physical_apic::timer_vector) {
        armed_for_ = 0;
        physical_apic::end_of_interrupt();
        expire_timers();
        if (read_tsc() >= turn_end_) {
            request_reschedule();
        }
        return;
    }
    if (vector == physical_apic::kick_vector) {
        physical_apic::end_of_interrupt();
        pass_nmi_on();
        return;
    }
    const auto target = device_interrupts_.find(vector);
    if (!target) {
        physical_apic::end_of_interrupt();
        log(LogLevel::debug, "LP {}: interrupt {x} that no device is mapped to", index_, vector);
        return;
    }
    if (target->level) {
        device_interrupts_.begin_level(vector);
    } else {
        physical_apic::end_of_interrupt();
    }
    target->vp->accept_interrupt(target->vector, target->level);
}

/// It may have come while this processor held any lock: all else is left to an interrupt.
void LogicalProcessor::handle_nmi() {
    if (is_panicking()) {
        stop_processor();
    }
    nmi_received_.store(true, std::memory_order_seq_cst);
    physical_apic::send_to_self(physical_apic::kick_vector);
}

/// NMIs are the root's: a watchdog's, or an administrator's who wants to know where it hangs.
void LogicalProcessor::pass_nmi_on() {
    if (!nmi_received_.exchange(false, std::memory_order_seq_cst)) {
        return;
    }
    if (VirtualProcessor* const vp = VirtualProcessor::root_vp_of(*this); vp != nullptr) {
        vp->accept_nmi();
    }
}

void LogicalProcessor::kick() {
    if (is_in_guest() || idle.load(std::memory_order_seq_cst)) {
        physical_apic::send_fixed(apic_id_, physical_apic::kick_vector);
        ++current().interrupts_sent;
    }
}

bool LogicalProcessor::is_quiescent() const {
    return is_in_guest() || idle.load(std::memory_order_seq_cst) ||
        waits_.load(std::memory_order_seq_cst);
}

void LogicalProcessor::wait_until_all_have_passed() {
    const WaitsForOthers waits; // as do two that wait for each other
    for (const LogicalProcessor* const lp : all()) {
        const std::uint64_t exits = lp->guest_exits_.load(std::memory_order_seq_cst);
        const std::uint64_t sleeps = lp->sleeps_.load(std::memory_order_seq_cst);
        while (!lp->is_quiescent() && lp->guest_exits_.load(std::memory_order_seq_cst) == exits &&
            lp->sleeps_.load(std::memory_order_seq_cst) == sleeps) {
            pause();
        }
    }
}

} // namespace hypervisor
