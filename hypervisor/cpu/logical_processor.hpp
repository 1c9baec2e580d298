// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/apic/device_interrupts.hpp"
#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/cpu/spin_lock.hpp"
#include "hypervisor/cpu/svm/asid.hpp"
#include "hypervisor/cpu/tlb_shootdown.hpp"
#include "hypervisor/memory/address.hpp"
#include "hypervisor/scheduler/run_queue.hpp"
#include "hypervisor/scheduler/timer_queue.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hypervisor {

class Partition;
class TraceRing;
class VirtualProcessor;

/// A logical processor of the machine. It runs virtual processors, one at a time, and sleeps when
/// none is ready. What it owns is touched by it alone, unless it says otherwise.
class LogicalProcessor final {
public:
    /// A stack is aligned to its size. Its lowest page is not there, so that one that is used up
    /// ends the hypervisor and overwrites nothing; its highest word is the processor's address.
    static constexpr std::size_t stack_size = 0x8000;
    static constexpr unsigned most = 64;

    /// \param sleeper_bonus, most_lag as of RunQueue
    LogicalProcessor(std::uint32_t index, std::uint32_t apic_id, std::uint64_t sleeper_bonus,
        std::uint64_t most_lag, SpaPage call_input, SpaPage call_output)
        : index_{index},
          apic_id_{apic_id},
          queue_{sleeper_bonus, most_lag},
          call_input_{pointer_to<std::byte>(call_input)},
          call_output_{pointer_to<std::byte>(call_output)} {}
    LogicalProcessor(const LogicalProcessor&) = delete;
    LogicalProcessor& operator=(const LogicalProcessor&) = delete;

    /// The one that this code runs on.
    static LogicalProcessor& current() {
        std::uint64_t sp;
        asm("mov %%rsp, %0" : "=r"(sp));
        return *of_stack(sp & ~(stack_size - 1));
    }
    /// Where the stack that begins at `stack` says whose it is.
    static LogicalProcessor*& of_stack(std::uint64_t stack) {
        return *reinterpret_cast<LogicalProcessor**>(
            stack + stack_size - sizeof(LogicalProcessor*));
    }
    /// What its stack pointer is at first.
    static constexpr std::uint64_t stack_top(std::uint64_t stack) {
        return stack + stack_size - 16;
    }
    /// Those that have been started.
    static std::span<LogicalProcessor* const> all();
    static void add(LogicalProcessor& lp);

    [[nodiscard]] std::uint32_t index() const { return index_; }
    [[nodiscard]] std::uint32_t apic_id() const { return apic_id_; }
    svm::AsidAllocator& asids() { return asids_; }
    /// A page in which the processor keeps the hypervisor's state while a guest runs.
    [[nodiscard]] SpaPage host_save_area() const { return host_save_area_; }
    void set_host_save_area(SpaPage page) { host_save_area_ = page; }
    DeviceInterrupts& device_interrupts() { return device_interrupts_; }

    /// Runs virtual processors for ever.
    [[noreturn]] void run();

    /// Runs `vp` until it stops, `until` (ticks of the time-stamp counter) has come, or `outer` has
    /// an event: `outer` runs here and has made a hypercall.
    void run_in_place_of(VirtualProcessor& outer, VirtualProcessor& vp, std::uint64_t until);

    void handle_interrupt(std::uint8_t vector);
    void handle_nmi();

    /// Makes the processor look at what has changed, if it is in a guest or asleep. From any one.
    void kick();

    /// The virtual processor that runs here, or null.
    [[nodiscard]] VirtualProcessor* running() const {
        return running_.load(std::memory_order_seq_cst);
    }

    /// Since when, in ticks of the time-stamp counter.
    [[nodiscard]] std::uint64_t running_since() const {
        return running_since_.load(std::memory_order_relaxed);
    }

    /// Between these two the processor may be in a guest and use its translations: as
    /// GuestPresence::enter.
    [[nodiscard]] bool enter_guest(GuestPresence::View partition, GuestPresence::View vp) {
        return presence_.enter(partition, vp);
    }
    void leave_guest() {
        presence_.leave();
        guest_exits_.fetch_add(1, std::memory_order_seq_cst);
    }
    [[nodiscard]] const GuestPresence& presence() const { return presence_; }
    [[nodiscard]] bool is_in_guest() const { return presence_.is_in_guest(); }

    /// Waits until every other processor has been in a guest or asleep, so that none uses any more
    /// what it has looked up before and what nobody can find now. With no lock held.
    static void wait_until_all_have_passed();

    /// While it lives, this processor waits for another one, and uses nothing that might go away.
    class WaitsForOthers final {
    public:
        WaitsForOthers() : lp_{current()} { lp_.waits_.store(true, std::memory_order_seq_cst); }
        ~WaitsForOthers() { lp_.waits_.store(false, std::memory_order_seq_cst); }
        WaitsForOthers(const WaitsForOthers&) = delete;
        WaitsForOthers& operator=(const WaitsForOthers&) = delete;

    private:
        LogicalProcessor& lp_;
    };

    /// Whether the virtual processor that runs here is to give way. From any one.
    void request_reschedule() { reschedule_.store(true, std::memory_order_seq_cst); }
    [[nodiscard]] bool reschedule_requested() const {
        return reschedule_.load(std::memory_order_seq_cst);
    }

    /// Where exits are recorded, or null: see exit_trace.
    [[nodiscard]] TraceRing* trace_ring() const {
        return trace_ring_.load(std::memory_order_seq_cst);
    }
    /// From any one. Before the old one is freed, wait_until_all_have_passed.
    void set_trace_ring(TraceRing* ring) { trace_ring_.store(ring, std::memory_order_seq_cst); }

    /// Copies of a hypercall's input and output, for the call that is handled here.
    [[nodiscard]] std::byte* call_input() const { return call_input_; }
    [[nodiscard]] std::byte* call_output() const { return call_output_; }

    /// Programs the timer of this processor for the nearest thing that waits for a time.
    void arm_timer();
    /// Whether that is to be done anew: it is due, or another waits for its turn. An interrupt of
    /// the timer is not relied on alone: an emulated processor may have lost it (QEMU notes a
    /// virtual interrupt at VMRUN without the lock that device threads note theirs with).
    [[nodiscard]] bool timer_is_stale() const {
        return queue_has_changed() || read_tsc() >= armed_for_;
    }
    /// A virtual processor that runs here has a timer for then.
    void note_deadline(std::uint64_t deadline) {
        if (deadline < armed_for_) {
            note_turn_changed();
        }
    }
    [[nodiscard]] bool queue_has_changed() const {
        return queue_changed_.load(std::memory_order_seq_cst);
    }
    /// Under queue_lock, from any processor: one more waits for its turn here.
    void note_queue_changed() { queue_changed_.store(true, std::memory_order_seq_cst); }
    /// The same of this processor: the turn ends at another time.
    void note_turn_changed() { queue_changed_.store(true, std::memory_order_relaxed); }

    /// Where it is, as the firmware counts (ACPI's SRAT); set at boot.
    std::uint32_t proximity_domain = 0;
    /// Set by HvAddLogicalProcessor: the root knows the processor.
    std::atomic<bool> added_to_root{false};

    // Scheduling state; under queue_lock.
    SpinLock queue_lock{};
    RunQueue& queue() { return queue_; }
    [[nodiscard]] const RunQueue& queue() const { return queue_; }
    TimerQueue& timers() { return timers_; }
    /// Virtual processors of children that are ready or running here.
    std::atomic<unsigned> load{0};
    std::atomic<bool> idle{false};

    // Statistics, in ticks of the time-stamp counter.

    /// What virtual processors have had, what is done for their exits included.
    std::uint64_t guest_time = 0;
    /// What went into choosing who is next, and into what comes to an LP that sleeps: all until
    /// `now` but `guest_time`, sleep, and what the one that runs now has had.
    [[nodiscard]] std::uint64_t hypervisor_time(std::uint64_t now) const;
    /// In which it was halted.
    [[nodiscard]] std::uint64_t sleep_time() const { return sleep_time_; }
    std::uint64_t halts = 0;
    std::uint64_t context_switches = 0;
    /// Each is counted once: as a device's, as the timer's, as another processor's that wants
    /// somebody else to run here, or as another processor's for another reason.
    std::uint64_t hardware_interrupts = 0;
    std::uint64_t timer_interrupts = 0;
    std::uint64_t scheduler_interrupts = 0;
    std::uint64_t processor_interrupts = 0;
    /// The last two kinds of others, sent from here.
    std::uint64_t interrupts_sent = 0;

private:
    std::uint64_t& counter_of(std::uint8_t vector);
    void sleep();
    void limit(std::uint64_t until);
    void change_partition(const Partition& to);
    void expire_timers();
    void pass_nmi_on();
    void begin_sleep();
    void end_sleep();
    [[nodiscard]] bool is_quiescent() const;

    const std::uint32_t index_;
    const std::uint32_t apic_id_;
    std::uint64_t begin_ = 0;
    std::uint64_t sleep_begin_ = 0;
    std::uint64_t sleep_time_ = 0;
    std::uint64_t statistics_due_ = 0;
    RunQueue queue_;
    TimerQueue timers_{};
    std::atomic<VirtualProcessor*> running_{nullptr};
    std::atomic<std::uint64_t> running_since_{0};
    std::uint64_t slice_end_ = 0; ///< if others wait
    std::uint64_t limit_end_ = 0; ///< in any case
    std::uint64_t turn_end_ = 0;  ///< as the timer is set: somebody else's turn may have come
    const Partition* last_partition_ = nullptr; ///< only compared: it may be gone
    GuestPresence presence_{};
    std::atomic<std::uint64_t> guest_exits_{0};
    std::atomic<TraceRing*> trace_ring_{nullptr}; ///< looked at when the two above are written
    std::atomic<std::uint64_t> sleeps_{0};
    std::atomic<bool> waits_{false};
    std::atomic<bool> nmi_received_{false};
    std::atomic<bool> reschedule_{false};
    std::uint64_t armed_for_ = 0;
    std::atomic<bool> queue_changed_{false}; ///< or when the turn ends, or the next timer
    svm::AsidAllocator asids_{};
    SpaPage host_save_area_{};
    DeviceInterrupts device_interrupts_{};
    std::byte* call_input_;
    std::byte* call_output_;
};

} // namespace hypervisor
