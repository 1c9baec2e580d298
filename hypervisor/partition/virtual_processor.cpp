// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/virtual_processor.hpp"

#include "hypervisor/cpu/extended_state.hpp"
#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/cpu/register_rules.hpp"
#include "hypervisor/debug/panic.hpp"
#include "hypervisor/partition/exit_handler.hpp"
#include "hypervisor/partition/interrupts.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/partition_table.hpp"
#include "hypervisor/scheduler/scheduler.hpp"
#include "hypervisor/trace/exit_trace.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace hypervisor {

namespace {

/// In the extended state.
constexpr std::size_t xmm_offset = 160;

bool has_flag(const Partition& partition, std::uint64_t flag) {
    return partition.is_root() || (partition.creation_flags() & flag) != 0;
}

} // namespace

VirtualProcessor::VirtualProcessor(Partition& partition, std::uint32_t index, NativeCpu& cpu,
    KnownInstructions& instructions, CpuidCache& answers, LogicalProcessor& lp, bool is_bootstrap)
    : parent_lp{&lp},
      known_instructions{instructions},
      cpuid_cache{answers},
      partition_{partition},
      index_{index},
      cpu_{cpu},
      lp_{&lp},
      startup_{!is_bootstrap},
      tsc_offset_{partition.clock().tsc_offset()},
      apic_{partition.is_root() ? lp.apic_id() : index, is_bootstrap,
          VirtualLocalApic::Features{
              .x2apic = has_flag(partition, HV_PARTITION_CREATION_FLAG_X2APIC_CAPABLE),
              .present = has_flag(partition, HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED)}} {
    synic_.reset();
    for (std::uint8_t sint = 0; sint < HV_SYNIC_SINT_COUNT; ++sint) {
        sint_notifications[sint].set(HVMSG_SYNIC_SINT_INTERCEPT, partition_table::root_id,
            hv_notification_message_payload{.sint_index = sint});
    }
    cpu_.set_address_space(partition.space().root());
    if (startup_.waits()) {
        set_block(waiting);
    }
}

VirtualProcessor* VirtualProcessor::root_vp_of(const LogicalProcessor& lp) {
    Partition* const root = partition_table::root();
    return root != nullptr ? root->vp(lp.index()) : nullptr;
}

bool VirtualProcessor::is_pinned() const {
    return partition_.is_root();
}

// ---- Events from any LP ----

void VirtualProcessor::notify_event() {
    event_pending_.store(true, std::memory_order_seq_cst);
    scheduler::wake(*this);
}

void VirtualProcessor::accept_interrupt(std::uint8_t vector, bool level) {
    if (apic_.accept(vector, level)) {
        notify_event();
    }
}

void VirtualProcessor::accept(const std::optional<Synic::Interrupt>& interrupt) {
    if (interrupt) {
        counters.count(VpCounter::synthetic_interrupts);
        accept_interrupt(interrupt->vector, false);
    }
}

void VirtualProcessor::look_at_slots() {
    accept(synic_.end_of_message());
    if (synic_.notifications() != 0) {
        notify_event(); // they are answered when it is about to run
    }
}

void VirtualProcessor::accept_nmi() {
    nmi_pending_.store(true, std::memory_order_seq_cst);
    notify_event();
}

void VirtualProcessor::accept_init() {
    startup_.init();
    notify_event();
}

void VirtualProcessor::accept_startup(std::uint8_t page) {
    if (startup_.start(page)) {
        notify_event();
    }
}

bool VirtualProcessor::can_run() const {
    if (blocks_.forbid()) {
        return false;
    }
    return (blocks() & waiting) == 0 || event_pending_.load(std::memory_order_seq_cst);
}

VirtualProcessor::Hold::Hold(VirtualProcessor& vp)
    : vp_{vp},
      is_self_{LogicalProcessor::current().running() == &vp} {
    if (is_self_) {
        vp_.cpu().save();
        return;
    }
    vp_.blocks_.hold();
    scheduler::stop(vp_);
}

VirtualProcessor::Hold::~Hold() {
    if (is_self_) {
        vp_.cpu().load();
        vp_.is_settled_ = false;
        return;
    }
    vp_.is_settled_ = false;
    vp_.blocks_.let_go();
    scheduler::wake(vp_);
}

// ---- Running ----

void VirtualProcessor::run(LogicalProcessor& lp) {
    counters.count(VpCounter::lp_dispatches);
    const std::uint64_t begin = read_tsc();
    end_wait(begin);
    counters.set(VpCounter::waiting_for_cpu_time, clock::to_100ns(waited));
    cpu_.set_tsc_offset(partition_.clock().hardware_offset(tsc_offset()));
    if (!partition_.is_root()) {
        cpu_.set_intercepts({.exceptions = partition_.intercepts.exceptions(),
            .all_msrs = partition_.intercepts.single_msrs()});
    }
    cpu_.load();
    rearm(lp);
    for (;;) {
        const Entry entry = prepare_entry(lp);
        if (entry == Entry::leave) {
            break;
        }
        if (entry == Entry::again) {
            continue;
        }
        const Exit exit = cpu_.run();
        lp.leave_guest();
        exit_trace::left_guest(lp, *this, exit);
        (void)apic_.set_cr8(cpu_.cr8());
        settle_eoi();
        handle_exit(*this, exit);
    }
    exit_trace::stopped(lp, *this, intercept_unsent_);
    cpu_.save();
    run_time += read_tsc() - begin - std::exchange(lent_, 0);
    counters.set(VpCounter::total_run_time, clock::to_100ns(run_time));
    if (intercept_unsent_) {
        publish_intercept();
    }
}

VirtualProcessor::Entry VirtualProcessor::prepare_entry(LogicalProcessor& lp) {
    if (lp.reschedule_requested() || blocks_.forbid()) {
        return Entry::leave;
    }
    if (!nothing_is_due(lp)) {
        const Entry entry = look_at_what_is_due(lp);
        if (entry != Entry::enter) {
            return entry;
        }
    }
    if (eoi_assist_.is_broken() && is_settled_) {
        eoi_assist_.promise();
    }
    exit_trace::enter_guest(lp, *this);
    if (lp.enter_guest({partition_.tlb(), seen_partition_epoch_}, {tlb_, seen_epoch_})) {
        cpu_.flush_tlb();
    }
    if (lp.reschedule_requested() || event_pending_.load(std::memory_order_seq_cst) ||
        blocks() != 0 || lp.queue_has_changed()) {
        lp.leave_guest();
        settle_eoi();
        return Entry::again;
    }
    cpu_.set_cr8(apic_.cr8());
    return Entry::enter;
}

/// Whether all is as it was when it was last looked at, and nothing waited. Most exits are that
/// short.
bool VirtualProcessor::nothing_is_due(const LogicalProcessor& lp) const {
    return is_settled_ && !event_pending_.load(std::memory_order_seq_cst) && !timers_dirty_ &&
        blocks() == 0 && !lp.timer_is_stale() && !cpu_.has_pending_event();
}

VirtualProcessor::Entry VirtualProcessor::look_at_what_is_due(LogicalProcessor& lp) {
    event_pending_.store(false, std::memory_order_seq_cst);
    is_settled_ = false;
    if (synic_.notifications() != 0 && report_deliverable_sints()) {
        return Entry::leave;
    }
    if (!handle_startup()) {
        return event_pending_.load() ? Entry::again : Entry::leave;
    }
    process_timers();
    if (pending_exception_.event_pending != 0) {
        raise_pending_exception();
    }
    if (!deliver_interrupts() && (blocks() & waiting) != 0) {
        rearm(lp);
        return event_pending_.load(std::memory_order_seq_cst) ? Entry::again : Entry::leave;
    }
    rearm(lp);
    lp.arm_timer();
    // What is delivered now is gone by the next exit, or still to be seen.
    is_settled_ = !apic_.has_request() && !nmi_pending_.load();
    return Entry::enter;
}

/// INIT and start-up messages. \return false if the virtual processor still waits for one.
bool VirtualProcessor::handle_startup() {
    if (startup_.take_init()) {
        cpu_.reset();
        cpu_.set(CpuRegister::rip, 0xfff0);
        apic_.init();
        pending_exception_ = {};
        cpu_.load();
        set_block(waiting);
        timers_changed();
    }
    if (!startup_.waits()) {
        return true;
    }
    const auto page = startup_.take_start();
    if (!page) {
        return false;
    }
    hv_x64_segment_register cs = cpu_.segment(SegmentName::cs);
    cs.selector = static_cast<std::uint16_t>(*page << 8);
    cs.base = std::uint64_t{*page} << page_shift;
    cpu_.set_segment(SegmentName::cs, cs);
    cpu_.set(CpuRegister::rip, 0);
    clear_block(waiting);
    return true;
}

/// \return whether something is delivered now.
bool VirtualProcessor::deliver_interrupts() {
    const auto pending = cpu_.pending_event();
    const bool is_interrupt = pending && pending->type == CpuEvent::Type::interrupt;
    if (nmi_pending_.load(std::memory_order_seq_cst) && !cpu_.nmi_masked() &&
        (!pending || is_interrupt) && !cpu_.interrupt_shadow()) {
        nmi_pending_.store(false, std::memory_order_seq_cst);
        cpu_.set_pending_event(CpuEvent{.type = CpuEvent::Type::nmi, .vector = exception_nmi});
        cpu_.set_nmi_masked(true);
        clear_block(waiting);
        return true;
    }
    if (pending) {
        cpu_.set_interrupt_window(apic_.deliverable().has_value());
        // An interrupt is not lost when an exception comes between; it waits for the guest again.
        if (is_interrupt && (cpu_.get(CpuRegister::rflags) & rflags_if) == 0) {
            end_idleness();
            return false;
        }
        clear_block(waiting);
        return true;
    }
    const auto vector = apic_.deliverable();
    if (!vector) {
        cpu_.set_interrupt_window(false);
        if (apic_.has_request()) { // behind one that is in service, or masked by its priority
            end_idleness();
        }
        return false;
    }
    if (!cpu_.can_take_interrupt()) {
        cpu_.set_interrupt_window(true);
        end_idleness();
        return false;
    }
    const bool auto_eoi = synic_.is_auto_eoi(*vector);
    if (!apic_.acknowledge(*vector, auto_eoi)) {
        return deliver_interrupts();
    }
    eoi_assist_.forget();
    // Its end concerns nobody else, and no other interrupt waits for it.
    if (!auto_eoi && !apic_.is_level_triggered(*vector) && !apic_.has_request()) {
        eoi_assist_.promise();
    }
    counters.count(VpCounter::virtual_interrupts);
    cpu_.set_pending_event(CpuEvent{.type = CpuEvent::Type::interrupt, .vector = *vector});
    clear_block(waiting);
    cpu_.set_interrupt_window(apic_.deliverable().has_value());
    return true;
}

/// There is an interrupt, taken or not.
void VirtualProcessor::end_idleness() {
    if (is_idle_) {
        clear_block(waiting);
    }
}

void VirtualProcessor::raise_pending_exception() {
    const auto under_way = cpu_.pending_event();
    if (under_way && under_way->type != CpuEvent::Type::interrupt) {
        return; // that one first
    }
    const hv_x64_pending_exception_event event = pending_exception_;
    pending_exception_ = {};
    if (event.vector == exception_page_fault) {
        cpu_.set(CpuRegister::cr2, event.exception_parameter);
    }
    cpu_.raise(static_cast<std::uint8_t>(event.vector),
        event.deliver_error_code != 0 ? std::optional{std::uint32_t{event.error_code}}
                                      : std::nullopt);
}

hv_x64_pending_interruption_register VirtualProcessor::pending_interruption() const {
    hv_x64_pending_interruption_register result{};
    if (!cpu_.has_pending_event()) {
        return result;
    }
    if (const auto event = cpu_.pending_event(); event) {
        result.interruption_pending = 1;
        result.interruption_type = static_cast<std::uint32_t>(event->type) & 7;
        result.deliver_error_code = event->has_error_code;
        result.interruption_vector = event->vector;
        result.error_code = event->error_code;
        result.instruction_length = event->instruction_length & 0xf;
    }
    return result;
}

/// The guest has left: the local APIC is to be as if it had written the EOI that it could spare,
/// and of what comes now it may have to tell.
void VirtualProcessor::settle_eoi() {
    if (eoi_assist_.promised() && eoi_assist_.take_back()) {
        (void)apic_.eoi();
    }
}

// ---- Time ----

ApicTime VirtualProcessor::apic_time() const {
    const std::uint64_t ticks = partition_.clock().ticks(read_tsc());
    return {.bus = clock::bus_from_tsc(ticks), .tsc = ticks + tsc_offset()};
}

std::uint64_t VirtualProcessor::tsc() const {
    return partition_.clock().ticks(read_tsc()) + tsc_offset();
}

std::uint64_t VirtualProcessor::nearest_deadline() const {
    const PartitionClock& time = partition_.clock();
    std::uint64_t nearest = time.host_at_reference_time(synthetic_timers_.deadline());
    if (const auto apic = apic_.timer_deadline(); apic) {
        nearest = std::min(nearest,
            apic->clock == ApicTimerDeadline::Clock::bus
                ? time.host_at_ticks(clock::tsc_from_bus(apic->at))
                : time.host_at_counter(apic->at, tsc_offset()));
    }
    return nearest;
}

void VirtualProcessor::process_timers() {
    if (TimerEntry::queued && read_tsc() < TimerEntry::deadline) {
        return;
    }
    if (!TimerEntry::queued && !timers_dirty_.load(std::memory_order_relaxed) &&
        TimerEntry::deadline == TimerEntry::never) {
        return;
    }
    timers_changed();
    if (apic_.timer_deadline()) {
        (void)apic_.timer_expire(apic_time());
    }
    if (synthetic_timers_.deadline() == SyntheticTimers::never) {
        return;
    }
    const std::uint64_t now = partition_.reference_time();
    while (const auto expired = synthetic_timers_.expire(now, partition_.id())) {
        if (expired->direct) {
            (void)apic_.accept(expired->vector, false);
        } else if (const auto interrupt = synic_.post(expired->sint, *expired->message);
                   interrupt) {
            (void)apic_.accept(interrupt->vector, false);
        }
    }
}

/// Puts the nearest deadline into the queue of the LP that it runs on.
void VirtualProcessor::rearm(LogicalProcessor& lp) {
    if (!timers_dirty_.load(std::memory_order_relaxed) && timer_lp_ == &lp) {
        return;
    }
    if (timer_lp_ != nullptr) {
        if (timer_lp_ != &lp) { // where it ran last
            counters.count(VpCounter::lp_migrations);
        }
        const SpinGuard guard{timer_lp_->queue_lock};
        timer_lp_->timers().remove(*this);
    }
    (void)timers_dirty_.exchange(false, std::memory_order_seq_cst); // before time is looked at
    timer_lp_ = &lp;
    TimerEntry::deadline = nearest_deadline();
    if (TimerEntry::deadline != TimerEntry::never) {
        const SpinGuard guard{lp.queue_lock};
        lp.timers().add(*this);
    }
    lp.note_deadline(TimerEntry::deadline);
}

void VirtualProcessor::disarm() {
    if (timer_lp_ != nullptr) {
        const SpinGuard guard{timer_lp_->queue_lock};
        timer_lp_->timers().remove(*this);
    }
}

// ---- Local APIC ----

void VirtualProcessor::apply(const LocalApicEffect& effect) {
    // What is settled has no interrupt that waits: only a new one can be due.
    is_settled_ = is_settled_ && !effect.recheck_interrupts && !effect.command;
    if (effect.timer_changed) {
        timers_changed();
    }
    if (effect.end_of_interrupt) {
        eoi_assist_.forget();
        interrupts::ended(*this, *effect.end_of_interrupt);
    }
    if (effect.command) {
        counters.count(VpCounter::apic_ipis_sent);
        if (effect.command->shorthand == DestinationShorthand::self) {
            counters.count(VpCounter::apic_self_ipis_sent);
        }
        interrupts::send(*this, *effect.command);
    }
}

void VirtualProcessor::end_of_interrupt() {
    counters.count(VpCounter::apic_eoi_accesses);
    eoi_assist_.forget();
    if (const auto ended = apic_.eoi(); ended) {
        interrupts::ended(*this, *ended);
    }
}

// ---- Intercepts ----

hv_x64_intercept_message_header VirtualProcessor::intercept_header(
    std::uint8_t access_type, unsigned instruction_length) const {
    hv_x64_intercept_message_header header{};
    header.vp_index = index_;
    header.instruction_length = static_cast<std::uint8_t>(instruction_length & 0xf);
    header.intercept_access_type = access_type;
    cpu_.tell(header);
    return header;
}

void VirtualProcessor::fill_register_page() {
    if (register_page == nullptr) {
        return;
    }
    hv_vp_register_page& page = *register_page;
    page.version = HV_VP_REGISTER_PAGE_VERSION_1;
    page.dirty = 0;
    std::memcpy(page.gp_registers, cpu_.gpr.data(), sizeof page.gp_registers);
    cpu_.tell(page);
    static_assert(sizeof page.xmm_registers == 6 * sizeof(hv_u128));
    std::memcpy(page.xmm_registers, cpu_.extended_state() + xmm_offset, sizeof page.xmm_registers);
    page.pending_interruption = pending_interruption();
    page.is_valid = 1;
}

void VirtualProcessor::send_intercept(std::uint32_t type, const void* payload, std::uint8_t size) {
    require(!partition_.is_root(), "the root partition has no parent to handle its intercepts");
    if (intercept_page != nullptr) {
        intercept_page->header.payload_size = size;
        intercept_page->header.message_flags = 0;
        intercept_page->header.sender = partition_.id();
        std::memcpy(intercept_page->payload, payload, size);
        std::atomic_ref{*reinterpret_cast<std::uint32_t*>(intercept_page)}.store(
            type, std::memory_order_release);
    }
    intercepted_rip_ = cpu_.get(CpuRegister::rip);
    set_block(intercept_suspend);
    intercept_unsent_ = true;
}

/// \return whether the parent is to hear of slots that are free.
bool VirtualProcessor::report_deliverable_sints() {
    const std::uint16_t sints = synic_.take_deliverable();
    if (sints == 0) {
        return false;
    }
    hv_x64_sint_deliverable_message message{};
    message.header = intercept_header(HV_INTERCEPT_ACCESS_READ, 0);
    message.deliverable_sints = sints;
    counters.count(VpCounter::other_messages);
    intercept(HVMSG_SYNIC_SINT_DELIVERABLE, message);
    return true;
}

/// The parent is told when the state that it may look at has been saved.
void VirtualProcessor::publish_intercept() {
    intercept_unsent_ = false;
    fill_register_page();
    if (scheduler::root_schedules()) {
        return; // HvDispatchVp tells
    }
    intercept_message_.set(
        HVMSG_OPAQUE_INTERCEPT, partition_.id(), hv_opaque_intercept_message{.vp_index = index_});
    VirtualProcessor* const receiver = root_vp_of(*parent_lp.load(std::memory_order_acquire));
    if (receiver != nullptr) {
        receiver->accept(receiver->synic().post(HV_SYNIC_INTERCEPTION_SINT, intercept_message_));
    }
}

void VirtualProcessor::set_dispatch_blocked(bool blocked) {
    if (blocked != is_dispatch_blocked_) {
        is_dispatch_blocked_ = blocked;
        show_dispatch_blocked();
    }
}

/// A message that still waits for its slot does for both times.
std::optional<Synic::Interrupt> VirtualProcessor::signal_root(VirtualProcessor* receiver) {
    if (receiver == nullptr ||
        (signal_receiver_ != nullptr && signal_receiver_->synic().is_queued(intercept_message_))) {
        return std::nullopt;
    }
    hv_vp_signal_bitset_scheduler_message message{};
    message.partition_id = partition_.id();
    message.vp_count = 1;
    message.format = HV_GENERIC_SET_SPARSE_4K;
    message.valid_bank_mask = 1ull << (index_ / HV_VPS_PER_SPARSE_BANK);
    message.bank_contents = 1ull << (index_ % HV_VPS_PER_SPARSE_BANK);
    intercept_message_.set(HVMSG_SCHEDULER_VP_SIGNAL_BITSET, partition_.id(), message);
    signal_receiver_ = receiver;
    ++root_signals_;
    return receiver->synic().post(HV_SYNIC_INTERCEPTION_SINT, intercept_message_);
}

void VirtualProcessor::take_offered_interrupts() {
    constexpr std::uint8_t first_vector = 16;
    if (register_page == nullptr) {
        return;
    }
    void* const at = &register_page->interrupt_vectors; // aligned, though the type does not say so
    const std::uint64_t offered =
        std::atomic_ref{*static_cast<std::uint64_t*>(at)}.exchange(0, std::memory_order_seq_cst);
    const auto count =
        std::min<std::uint64_t>(offered & 0xff, HV_VP_REGISTER_PAGE_MAX_VECTOR_COUNT);
    for (unsigned i = 1; i <= count; ++i) {
        const auto vector = static_cast<std::uint8_t>(offered >> (8 * i));
        if (vector >= first_vector) {
            accept_interrupt(vector, false);
        }
    }
}

void VirtualProcessor::resume_from_intercept() {
    take_over_register_page();
    end_intercepted_instruction();
}

/// A parent that has moved the instruction pointer behind the instruction has carried it out. One
/// that raises something instead has not, or sees to the rest itself.
void VirtualProcessor::end_intercepted_instruction() {
    const std::uint64_t length = cpu_.get(CpuRegister::rip) - intercepted_rip_;
    const auto is_raised = [this] {
        return cpu_.has_pending_event() && cpu_.pending_event()->type != CpuEvent::Type::interrupt;
    };
    if (length == 0 || length > max_instruction_length || pending_exception_.event_pending != 0 ||
        is_raised()) {
        return;
    }
    cpu_.end_instruction();
}

void VirtualProcessor::take_over_register_page() {
    if (register_page == nullptr || register_page->is_valid == 0) {
        return;
    }
    // The page is the parent's to write: each part of it is copied once.
    hv_vp_register_page page;
    const auto take = [this, &page](std::size_t offset, std::size_t size) {
        std::memcpy(reinterpret_cast<std::byte*>(&page) + offset,
            reinterpret_cast<const std::byte*>(register_page) + offset, size);
    };
    take(offsetof(hv_vp_register_page, dirty), sizeof page.dirty);
    register_page->is_valid = 0;
    register_page->dirty = 0;
    const auto is_dirty = [&page](unsigned what) {
        return (page.dirty & (1u << what)) != 0;
    };
    if (is_dirty(HV_X64_REGISTER_CLASS_GENERAL)) {
        std::memcpy(cpu_.gpr.data(), register_page->gp_registers, sizeof page.gp_registers);
    }
    if (is_dirty(HV_X64_REGISTER_CLASS_IP)) {
        take(offsetof(hv_vp_register_page, rip), sizeof page.rip);
        cpu_.set(CpuRegister::rip, page.rip);
    }
    // Values that are none are left out.
    if (is_dirty(HV_X64_REGISTER_CLASS_FLAGS)) {
        take(offsetof(hv_vp_register_page, rflags), sizeof page.rflags);
        if (register_rules().allow(CpuRegister::rflags, page.rflags)) {
            cpu_.set(CpuRegister::rflags, page.rflags);
        }
    }
    if (is_dirty(HV_X64_REGISTER_CLASS_XMM)) {
        std::memcpy(cpu_.extended_state() + xmm_offset, register_page->xmm_registers,
            sizeof page.xmm_registers);
        extended_state::mark_in_use(cpu_.extended_state(), extended_state::sse);
    }
    if (is_dirty(HV_X64_REGISTER_CLASS_SEGMENT)) {
        take(offsetof(hv_vp_register_page, segment_registers), sizeof page.segment_registers);
        for (unsigned i = 0; i < 6; ++i) {
            if (is_valid_segment(page.segment_registers[i])) {
                cpu_.set_segment(static_cast<SegmentName>(i), page.segment_registers[i]);
            }
        }
    }
}

void VirtualProcessor::settle_register_page() {
    if (register_page != nullptr && register_page->is_valid != 0 && register_page->dirty != 0) {
        resume_from_intercept();
        fill_register_page();
    }
}

void VirtualProcessor::refresh_register_page() {
    if (register_page != nullptr && register_page->is_valid != 0) {
        fill_register_page();
    }
}

} // namespace hypervisor
