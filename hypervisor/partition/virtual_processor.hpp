// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "abi/message.h"
#include "abi/register.h"
#include "hypervisor/apic/eoi_assist.hpp"
#include "hypervisor/apic/virtual_local_apic.hpp"
#include "hypervisor/cpu/native_cpu.hpp"
#include "hypervisor/cpu/spin_lock.hpp"
#include "hypervisor/cpu/tlb_shootdown.hpp"
#include "hypervisor/emulate/known_instructions.hpp"
#include "hypervisor/emulate/known_operands.hpp"
#include "hypervisor/memory/address_space.hpp"
#include "hypervisor/partition/cpuid_cache.hpp"
#include "hypervisor/partition/cpuid_overrides.hpp"
#include "hypervisor/partition/mtrr.hpp"
#include "hypervisor/partition/run_blocks.hpp"
#include "hypervisor/partition/startup.hpp"
#include "hypervisor/partition/statistics.hpp"
#include "hypervisor/scheduler/run_queue.hpp"
#include "hypervisor/scheduler/timer_queue.hpp"
#include "hypervisor/synic/synic.hpp"
#include "hypervisor/synic/synthetic_timers.hpp"

#include <array>
#include <atomic>
#include <cstdint>

namespace hypervisor {

class LogicalProcessor;
class Partition;

/// A virtual processor. Its state belongs to the LP that runs it, or to whoever has stopped it;
/// what others may call at any time says so. One page large; VMCB, extended state and what is
/// shared with the parent are pages of their own.
class VirtualProcessor final : private ScheduleEntity, private TimerEntry {
public:
    using enum RunBlocks::Block;
    using Block = RunBlocks::Block;
    /// Where the scheduler has it; under schedule_lock().
    enum class Place : std::uint8_t { nowhere, queued, running };

    VirtualProcessor(Partition& partition, std::uint32_t index, NativeCpu& cpu,
        KnownInstructions& instructions, CpuidCache& answers, LogicalProcessor& lp,
        bool is_bootstrap);
    VirtualProcessor(const VirtualProcessor&) = delete;
    VirtualProcessor& operator=(const VirtualProcessor&) = delete;

    static VirtualProcessor& of(ScheduleEntity& entity) {
        return static_cast<VirtualProcessor&>(entity);
    }
    static VirtualProcessor& of(TimerEntry& entry) { return static_cast<VirtualProcessor&>(entry); }
    /// The root's virtual processor that belongs to an LP, or null.
    static VirtualProcessor* root_vp_of(const LogicalProcessor& lp);

    [[nodiscard]] Partition& partition() const { return partition_; }
    [[nodiscard]] std::uint32_t index() const { return index_; }
    NativeCpu& cpu() { return cpu_; }
    [[nodiscard]] const NativeCpu& cpu() const { return cpu_; }
    VirtualLocalApic& apic() { return apic_; }
    EoiAssist& eoi_assist() { return eoi_assist_; }
    Synic& synic() { return synic_; }
    SyntheticTimers& synthetic_timers() { return synthetic_timers_; }

    /// Runs on this LP until it can't or another's turn has come. For LogicalProcessor.
    void run(LogicalProcessor& lp);

    // From any LP.

    /// Takes a fixed interrupt in and lets the virtual processor notice.
    void accept_interrupt(std::uint8_t vector, bool level);
    void accept(const std::optional<Synic::Interrupt>& interrupt);
    /// One of its message slots may be free: what waits for one comes.
    void look_at_slots();
    void accept_nmi();
    [[nodiscard]] bool nmi_pending() const { return nmi_pending_.load(std::memory_order_seq_cst); }
    void forget_nmi() { nmi_pending_.store(false, std::memory_order_seq_cst); }
    void accept_init();
    void accept_startup(std::uint8_t page);
    /// It drops all that it remembers of its page tables before it next enters its guest; see
    /// Partition::wait_for_flushes.
    void expire_translations() { tlb_.advance(); }
    /// Something has happened that a waiting virtual processor must look at.
    void notify_event();

    [[nodiscard]] std::uint32_t blocks() const { return blocks_.all(); }
    [[nodiscard]] bool can_run() const;
    [[nodiscard]] bool has_event() const { return event_pending_.load(std::memory_order_seq_cst); }
    void set_block(Block block) { blocks_.set(block); }
    void clear_block(Block block) { blocks_.clear(block); }

    /// Stops it and keeps it stopped while the guard lives: its state may then be read and changed,
    /// by the holder alone. For the virtual processor that makes the call, and for a parent.
    class [[nodiscard]] Hold final {
    public:
        explicit Hold(VirtualProcessor& vp);
        ~Hold();
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;

    private:
        VirtualProcessor& vp_;
        bool is_self_;
    };

    // For the scheduler, under schedule_lock().

    SpinLock& schedule_lock() { return schedule_lock_; }
    ScheduleEntity& schedule_entity() { return *this; }
    Place place = Place::nowhere;
    [[nodiscard]] LogicalProcessor& lp() const { return *lp_.load(std::memory_order_acquire); }
    void set_lp(LogicalProcessor& lp) { lp_.store(&lp, std::memory_order_release); }
    [[nodiscard]] bool is_pinned() const;

    // For root_dispatch.

    /// What a Hold begins and ends with: nobody else holds it in between.
    void lock_state() { blocks_.hold(); }
    void unlock_state() { blocks_.let_go(); }
    /// Under schedule_lock(): whether the root waits for a message before it dispatches it again.
    [[nodiscard]] bool is_dispatch_blocked() const { return is_dispatch_blocked_; }
    void set_dispatch_blocked(bool blocked);
    /// The root reads it in the statistics, without asking.
    void show_dispatch_blocked() {
        counters.set(VpCounter::root_dispatch_thread_blocked, is_dispatch_blocked_ ? 1 : 0);
    }
    /// Under schedule_lock(): that message, to `receiver`, which may be null. \return
    /// what that is to accept.
    [[nodiscard]] std::optional<Synic::Interrupt> signal_root(VirtualProcessor* receiver);
    [[nodiscard]] std::uint64_t root_signals() const { return root_signals_; }
    /// Takes in the interrupts that the parent has put into the register page.
    void take_offered_interrupts();
    /// Another one has had the LP for so long while this one ran.
    void lend(std::uint64_t ticks) { lent_ += ticks; }

    // Events of its own that the parent raises; it is held.

    [[nodiscard]] hv_x64_pending_interruption_register pending_interruption() const;
    [[nodiscard]] const hv_x64_pending_exception_event& pending_exception() const {
        return pending_exception_;
    }
    void set_pending_exception(const hv_x64_pending_exception_event& event) {
        pending_exception_ = event;
    }

    // Intercepts: the parent handles them.

    /// Suspends the virtual processor and hands the message to its parent.
    template <class T>
    void intercept(std::uint32_t type, const T& message) {
        static_assert(sizeof(T) <= HV_MESSAGE_PAYLOAD_BYTE_COUNT);
        send_intercept(type, &message, sizeof(T));
    }
    /// What all intercept messages begin with.
    [[nodiscard]] hv_x64_intercept_message_header intercept_header(
        std::uint8_t access_type, unsigned instruction_length) const;
    /// The parent lets it go on: takes over what the parent has changed in the register page, and
    /// ends the instruction that the parent has carried out.
    void resume_from_intercept();
    /// A parent asks for registers by a call, or is about to set some: what it has changed in the
    /// register page came before.
    void settle_register_page();
    /// It has set some.
    void refresh_register_page();
    /// Pages shared with the parent, or null.
    hv_message* intercept_page = nullptr;
    hv_vp_register_page* register_page = nullptr;
    /// The LP on which the parent last let it go on: there the parent's thread waits.
    std::atomic<LogicalProcessor*> parent_lp;

    // Time.

    [[nodiscard]] ApicTime apic_time() const;
    /// Takes it out of the queue of timers: it is about to go away.
    void disarm();
    /// Recomputes the deadline after timers have changed.
    void timers_changed() { timers_dirty_.store(true, std::memory_order_relaxed); }
    /// The partition's time has changed: one that is halted puts its deadline right too. From any
    /// LP.
    void time_changed() {
        timers_changed();
        notify_event();
    }
    /// The time-stamp counter that its guest reads, and how it is set; see PartitionClock.
    [[nodiscard]] std::uint64_t tsc() const;
    [[nodiscard]] std::uint64_t tsc_offset() const {
        return tsc_offset_.load(std::memory_order_relaxed);
    }
    void set_tsc_offset(std::uint64_t offset) {
        tsc_offset_.store(offset, std::memory_order_relaxed);
        timers_changed();
    }

    /// What an access to the local APIC asks for.
    void apply(const LocalApicEffect& effect);
    void end_of_interrupt();

    KnownInstructions& known_instructions;
    KnownOperands known_operands{};
    CpuidCache& cpuid_cache;
    /// What the parent has registered for this one.
    CpuidOverrides cpuid_overrides{};

    // Registers that are the virtual processor's own and simply keep their values.
    std::uint64_t vp_assist_page = 0;
    std::uint64_t message_page_register = 0;
    std::uint64_t event_flags_page_register = 0;
    std::uint64_t event_ring_page_register = 0;
    std::array<std::uint64_t, 5> crash_parameters{};
    std::uint64_t crash_reported_at = 0; ///< of the time-stamp counter
    Mtrrs mtrrs{};
    std::uint64_t run_time = 0; ///< ticks of the time-stamp counter

    /// The virtual processor's overlay pages: the root's in reserved memory, a child's over its
    /// own.
    struct Overlays {
        Overlay message{};
        Overlay event_flags{};
        Overlay event_ring{};
        Overlay vp_assist{};
    } overlays{};

    VpCounters counters{};

    /// For each SINT that is an intercept the message that it has been signalled: never changed, as
    /// several LPs may post one.
    std::array<SynicMessage, HV_SYNIC_SINT_COUNT> sint_notifications{};

private:
    enum class Entry : std::uint8_t { enter, again, leave };

    Entry prepare_entry(LogicalProcessor& lp);
    [[nodiscard]] bool nothing_is_due(const LogicalProcessor& lp) const;
    Entry look_at_what_is_due(LogicalProcessor& lp);
    bool handle_startup();
    void process_timers();
    void rearm(LogicalProcessor& lp);
    bool deliver_interrupts();
    void settle_eoi();
    void end_idleness();
    void raise_pending_exception();
    bool report_deliverable_sints();
    void send_intercept(std::uint32_t type, const void* payload, std::uint8_t size);
    void publish_intercept();
    void fill_register_page();
    void take_over_register_page();
    void end_intercepted_instruction();
    [[nodiscard]] std::uint64_t nearest_deadline() const;

    Partition& partition_;
    const std::uint32_t index_;
    NativeCpu& cpu_;
    std::atomic<LogicalProcessor*> lp_;
    LogicalProcessor* timer_lp_ = nullptr;
    SpinLock schedule_lock_{};
    RunBlocks blocks_{};
    std::atomic<bool> event_pending_{false};
    std::atomic<bool> nmi_pending_{false};
    Startup startup_;
    std::atomic<bool> timers_dirty_{true};
    /// No interrupt or event is requested that the last look has not delivered; one that comes from
    /// elsewhere is in event_pending_. That holds while others run; a Hold ends it.
    bool is_settled_ = false;
    std::atomic<std::uint64_t> tsc_offset_;
    bool intercept_unsent_ = false;
    std::uint64_t intercepted_rip_ = 0; ///< where it was when its parent was last told of something
    bool is_idle_ = false;              ///< if it waits
    bool is_dispatch_blocked_ = false;
    std::uint64_t root_signals_ = 0;
    VirtualProcessor* signal_receiver_ = nullptr; ///< of the last message
    std::uint64_t lent_ = 0;
    TlbDomain tlb_{};
    std::uint64_t seen_epoch_ = 0;
    std::uint64_t seen_partition_epoch_ = 0;
    VirtualLocalApic apic_;
    EoiAssist eoi_assist_{};
    Synic synic_{};
    SyntheticTimers synthetic_timers_{};
    SynicMessage intercept_message_{};
    /// Delivered behind the interruption that is under way.
    hv_x64_pending_exception_event pending_exception_{};

public:
    /// What ends a guest's rest: what it takes, or also an interrupt that it has masked (TLFS
    /// "Guest Idle MSR").
    enum class WakeUp : std::uint8_t { interrupt_or_nmi, any_interrupt };
    /// From its own exit: it rests behind the instruction.
    void wait(WakeUp what) {
        is_idle_ = what == WakeUp::any_interrupt;
        set_block(waiting);
    }
    [[nodiscard]] bool is_idle() const { return is_idle_; }
    [[nodiscard]] bool waits_for_startup() const { return startup_.waits(); }
    /// Whether it waits for a start-up message, is halted, or idle; it is held.
    void set_activity(bool waits_for_startup, bool halted, bool idle) {
        startup_.set_waits(waits_for_startup);
        is_idle_ = idle;
        if (waits_for_startup || halted || idle) {
            set_block(waiting);
        } else {
            clear_block(waiting);
        }
    }
    SynicMessage& intercept_notification() { return intercept_message_; }
};
static_assert(sizeof(VirtualProcessor) <= page_size);

} // namespace hypervisor
