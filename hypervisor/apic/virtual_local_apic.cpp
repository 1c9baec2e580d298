// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/apic/virtual_local_apic.hpp"

#include <algorithm>

namespace hypervisor {

namespace {

/// Version 0x14, an integrated APIC, whose last local vector table entry is number 5.
constexpr std::uint32_t version_value = 0x00050014;

constexpr std::uint32_t xapic_id_mask = 0xFF000000;
constexpr std::uint32_t format_fixed_bits = 0x0FFFFFFF;
constexpr std::uint32_t command_bits = 0x000CCFFF;
constexpr std::uint32_t command_delivery_status = 1U << 12;
constexpr std::uint32_t divide_bits = 0b1011;
constexpr std::uint32_t spurious_bits =
    apic_spurious::vector | apic_spurious::software_enable | apic_spurious::focus_disable;
constexpr std::uint32_t timer_mode_bits = apic_lvt::timer_periodic | apic_lvt::timer_tsc_deadline;

constexpr std::uint8_t priority_class_mask = 0xF0;

bool in_range(ApicRegister which, ApicRegister first, ApicRegister last) {
    return which >= first && which <= last;
}

std::size_t distance(ApicRegister first, ApicRegister which) {
    return std::size_t(which) - std::size_t(first);
}

bool is_lvt(ApicRegister which) {
    return in_range(which, ApicRegister::lvt_timer, ApicRegister::lvt_error);
}

/// Registers of the xAPIC page that x2APIC mode doesn't have (SDM vol. 3, table 11-6).
bool absent_in_x2apic(ApicRegister which) {
    return which == ApicRegister::arbitration_priority || which == ApicRegister::remote_read ||
        which == ApicRegister::destination_format || which == ApicRegister::interrupt_command_high;
}

bool holds_illegal_vector(const std::array<std::uint32_t, 8>& bitmap) {
    return (bitmap[0] & ((1U << first_legal_vector) - 1)) != 0;
}

/// Whether software may ask for the message with that shorthand (APM vol. 2, table 16-5), and it
/// still means something.
bool worth_sending(const InterruptCommand& command) {
    const bool to_self = command.shorthand == DestinationShorthand::self ||
        command.shorthand == DestinationShorthand::all;
    switch (command.mode) {
    case DeliveryMode::fixed:
    case DeliveryMode::system_management:
    case DeliveryMode::non_maskable:
        return true;
    case DeliveryMode::lowest_priority:
    case DeliveryMode::startup:
        return !to_self;
    case DeliveryMode::init:
        // The de-assert message set arbitration numbers that no longer exist.
        return !to_self && (command.asserted || !command.level_triggered);
    case DeliveryMode::remote_read:
    case DeliveryMode::external:
        return false;
    }
    return false;
}

} // namespace

VirtualLocalApic::VirtualLocalApic(std::uint32_t apic_id, bool is_bootstrap, Features features)
    : is_bootstrap_(is_bootstrap),
      features_(features) {
    id_.set(apic_id);
    reset();
}

void VirtualLocalApic::reset() {
    base_.set(std::uint32_t(apic_base::address | (features_.present ? apic_base::enabled : 0)));
    init();
}

void VirtualLocalApic::init() {
    // First what keeps other processors from putting something in again.
    svr_.set(apic_spurious::vector);
    for (OwnedWord& entry : lvt_) {
        entry.set(apic_lvt::masked);
    }
    tpr_.set(0);
    ldr_.set(0);
    dfr_.set(0xFFFFFFFF);
    esr_ = 0;
    pending_errors_.store(0, std::memory_order_relaxed);
    icr_ = 0;
    timer_.reset();
    irr_.clear();
    tmr_.clear();
    isr_.clear();
}

VirtualLocalApic::Mode VirtualLocalApic::mode() const {
    const std::uint32_t value = base_.get();
    if ((value & apic_base::enabled) == 0) {
        return Mode::disabled;
    }
    return (value & apic_base::extended) == 0 ? Mode::xapic : Mode::x2apic;
}

bool VirtualLocalApic::software_enabled() const {
    return (svr_.get() & apic_spurious::software_enable) != 0;
}

bool VirtualLocalApic::accept(std::uint8_t vector, bool level_triggered) {
    if (mode() == Mode::disabled || !software_enabled()) {
        return false;
    }
    if (vector < first_legal_vector) {
        return report_error(apic_error::received_illegal_vector);
    }
    // The trigger mode has to be there for whoever sees the request.
    if (tmr_.contains(vector) != level_triggered) {
        if (level_triggered) {
            tmr_.insert(vector);
        } else {
            tmr_.erase(vector);
        }
    }
    return irr_.insert(vector);
}

bool VirtualLocalApic::matches_physical(std::uint32_t destination) const {
    switch (mode()) {
    case Mode::disabled:
        return false;
    case Mode::xapic:
        return destination == broadcast_destination || destination == 0xFF ||
            destination == (id() & 0xFF);
    case Mode::x2apic:
        return destination == broadcast_destination || destination == id();
    }
    return false;
}

bool VirtualLocalApic::matches_logical(std::uint32_t destination) const {
    const Mode now = mode();
    if (now == Mode::disabled) {
        return false;
    }
    const std::uint32_t own = logical_destination();
    if (destination == broadcast_destination) {
        return true;
    }
    if (now == Mode::x2apic) {
        return own >> 16 == destination >> 16 && (own & destination & 0xFFFF) != 0;
    }
    if (destination == 0xFF) {
        return true;
    }
    const std::uint32_t own_byte = own >> 24;
    switch (dfr_.get() >> 28) {
    case 0xF: // flat
        return (own_byte & destination) != 0;
    case 0x0: // cluster
        return own_byte >> 4 == destination >> 4 && (own_byte & destination & 0xF) != 0;
    default:
        return false;
    }
}

std::uint8_t VirtualLocalApic::arbitration_priority() const {
    // APM vol. 2, 16.6.2: the highest of task, request and service, the last two by class.
    const std::uint8_t task = tpr();
    const std::uint8_t others =
        std::max(irr_.highest().value_or(0), isr_.highest().value_or(0)) & priority_class_mask;
    return std::max(task, others);
}

VirtualLocalApic* VirtualLocalApic::lowest_priority(
    std::span<VirtualLocalApic* const> candidates, std::size_t first) {
    VirtualLocalApic* best = nullptr;
    std::uint8_t best_priority = 0;
    for (std::size_t step = 0; step < candidates.size(); ++step) {
        VirtualLocalApic* candidate =
            candidates[(first % candidates.size() + step) % candidates.size()];
        const std::uint8_t priority = candidate->arbitration_priority();
        if (best == nullptr || priority < best_priority) {
            best = candidate;
            best_priority = priority;
        }
    }
    return best;
}

std::uint32_t VirtualLocalApic::read(std::uint16_t offset, ApicTime now) {
    const unsigned lane = offset % 16;
    if (lane >= 4) {
        return 0;
    }
    const unsigned number = offset / 16;
    const auto value = number < 0x40 ? read_register(ApicRegister(number), now) : std::nullopt;
    if (!value) {
        // The owner is about to look at deliverable() anyway.
        static_cast<void>(report_error(apic_error::illegal_register));
        return 0;
    }
    return *value >> (8 * lane);
}

LocalApicEffect VirtualLocalApic::write(std::uint16_t offset, std::uint32_t value, ApicTime now) {
    LocalApicEffect effect;
    const unsigned number = offset / 16;
    if (offset % 16 != 0) {
        return effect;
    }
    const ApicRegister which = ApicRegister(number);
    if (number >= 0x40 || which == ApicRegister::self_interrupt || !read_register(which, now)) {
        effect.recheck_interrupts = report_error(apic_error::illegal_register);
        return effect;
    }
    if (const auto bits = writable_bits(which)) {
        write_register(which, value & *bits, now, effect);
    }
    return effect;
}

bool VirtualLocalApic::is_timed(std::uint32_t msr) {
    const auto which = ApicRegister(msr - x2apic_msr_first);
    return is_lvt(which) || which == ApicRegister::spurious_vector ||
        in_range(which, ApicRegister::timer_initial_count, ApicRegister::timer_divide);
}

std::expected<std::uint64_t, ApicFault> VirtualLocalApic::read_msr(
    std::uint32_t msr, ApicTime now) {
    constexpr auto fault = std::unexpected(ApicFault::general_protection);
    const std::uint32_t number = msr - x2apic_msr_first;
    if (mode() != Mode::x2apic || number >= 0x40) {
        return fault;
    }
    const ApicRegister which = ApicRegister(number);
    if (absent_in_x2apic(which) || which == ApicRegister::end_of_interrupt) {
        return fault;
    }
    if (which == ApicRegister::interrupt_command_low) {
        return icr_;
    }
    const auto value = read_register(which, now);
    if (!value) {
        return fault;
    }
    return *value;
}

std::expected<LocalApicEffect, ApicFault> VirtualLocalApic::write_msr(
    std::uint32_t msr, std::uint64_t value, ApicTime now) {
    constexpr auto fault = std::unexpected(ApicFault::general_protection);
    const std::uint32_t number = msr - x2apic_msr_first;
    if (mode() != Mode::x2apic || number >= 0x40) {
        return fault;
    }
    const ApicRegister which = ApicRegister(number);
    if (absent_in_x2apic(which) || which == ApicRegister::logical_destination) {
        return fault;
    }
    const auto bits = writable_bits(which);
    if (!bits) {
        return fault;
    }
    if (which == ApicRegister::interrupt_command_low) {
        if ((std::uint32_t(value) & ~(*bits | command_delivery_status)) != 0) {
            return fault;
        }
        return write_command(value);
    }
    // Bits that are read-only, not reserved, may be written back.
    const std::uint32_t ignored =
        is_lvt(which) ? apic_lvt::delivery_status | apic_lvt::remote_request : 0;
    if ((value & ~std::uint64_t{*bits | ignored}) != 0) {
        return fault;
    }
    if (which == ApicRegister::lvt_timer && (value & timer_mode_bits) == timer_mode_bits) {
        return fault;
    }
    LocalApicEffect effect;
    write_register(which, std::uint32_t(value) & *bits, now, effect);
    return effect;
}

std::uint64_t VirtualLocalApic::base() const {
    return base_.get() | (is_bootstrap_ ? apic_base::bootstrap : 0);
}

std::expected<LocalApicEffect, ApicFault> VirtualLocalApic::write_base(std::uint64_t value) {
    const Mode before = mode();
    const bool extended = (value & apic_base::extended) != 0;
    const bool enabled = (value & apic_base::enabled) != 0;
    // SDM vol. 3, 11.12.5: into x2APIC mode only from xAPIC mode, out of it only to disabled.
    const bool illegal_step =
        (before == Mode::disabled && extended) || (before == Mode::x2apic && enabled && !extended);
    if (!legal_base(value) || illegal_step) {
        return std::unexpected(ApicFault::general_protection);
    }
    base_.set(std::uint32_t(value & ~apic_base::bootstrap));
    const Mode after = mode();
    LocalApicEffect effect;
    if (before == after) {
        return effect;
    }
    if (after == Mode::x2apic) {
        icr_ = std::uint32_t(icr_);
    } else {
        init();
    }
    effect.recheck_interrupts = true;
    effect.timer_changed = true;
    return effect;
}

std::expected<std::uint64_t, ApicFault> VirtualLocalApic::read_tsc_deadline() const {
    if (!features_.tsc_deadline) {
        return std::unexpected(ApicFault::general_protection);
    }
    return timer_.tsc_deadline();
}

std::expected<LocalApicEffect, ApicFault> VirtualLocalApic::write_tsc_deadline(
    std::uint64_t value, ApicTime now) {
    if (!features_.tsc_deadline) {
        return std::unexpected(ApicFault::general_protection);
    }
    LocalApicEffect effect;
    effect.recheck_interrupts = timer_expire(now);
    timer_.set_tsc_deadline(value);
    effect.timer_changed = true;
    return effect;
}

LocalApicEffect VirtualLocalApic::write_command(std::uint64_t value) {
    const bool wide = mode() == Mode::x2apic;
    const std::uint64_t destination_bits = std::uint64_t{wide ? 0xFFFFFFFF : xapic_id_mask} << 32;
    icr_ = value & (destination_bits | command_bits);
    LocalApicEffect effect;
    send(decode_interrupt_command(icr_, wide), effect);
    return effect;
}

bool VirtualLocalApic::set_tpr(std::uint8_t value) {
    const bool lowered = value < tpr();
    tpr_.set(value);
    return lowered;
}

bool VirtualLocalApic::set_cr8(std::uint8_t priority_class) {
    const std::uint8_t value = std::uint8_t((priority_class & 0xF) << 4);
    return value != (tpr() & priority_class_mask) && set_tpr(value);
}

std::uint8_t VirtualLocalApic::ppr() const {
    const std::uint8_t task = tpr();
    const std::uint8_t service = isr_.highest().value_or(0) & priority_class_mask;
    return (task & priority_class_mask) >= service ? task : service;
}

std::optional<std::uint8_t> VirtualLocalApic::pending() const {
    return mode() == Mode::disabled ? std::nullopt : irr_.highest();
}

std::optional<std::uint8_t> VirtualLocalApic::deliverable() const {
    if (irr_.empty()) { // as usual
        return std::nullopt;
    }
    const auto vector = pending();
    if (!vector || (*vector & priority_class_mask) <= (ppr() & priority_class_mask)) {
        return std::nullopt;
    }
    return vector;
}

bool VirtualLocalApic::acknowledge(std::uint8_t vector, bool ends_by_itself) {
    if (!irr_.erase(vector)) {
        return false;
    }
    if (!ends_by_itself) {
        isr_.insert(vector);
    }
    return true;
}

std::optional<EndOfInterrupt> VirtualLocalApic::eoi() {
    const auto vector = isr_.highest();
    if (!vector) {
        return std::nullopt;
    }
    isr_.erase(*vector);
    return EndOfInterrupt{.vector = *vector, .level_triggered = tmr_.contains(*vector)};
}

std::optional<DeliveryMode> VirtualLocalApic::raise_local(LocalInterruptSource source) {
    if (mode() == Mode::disabled) {
        // The pins are then the processor's INTR and NMI (SDM vol. 3, 11.4.3).
        switch (source) {
        case LocalInterruptSource::pin0:
            return DeliveryMode::external;
        case LocalInterruptSource::pin1:
            return DeliveryMode::non_maskable;
        default:
            return std::nullopt;
        }
    }
    const LvtIndex index = LvtIndex(thermal + unsigned(source));
    const std::uint32_t entry = lvt_[index].get();
    if ((entry & apic_lvt::masked) != 0) {
        return std::nullopt;
    }
    const DeliveryMode mode = DeliveryMode((entry & apic_lvt::delivery_mode) >> 8);
    switch (mode) {
    case DeliveryMode::fixed:
        if (!accept(std::uint8_t(entry), (entry & apic_lvt::level_triggered) != 0)) {
            return std::nullopt;
        }
        return mode;
    case DeliveryMode::system_management:
    case DeliveryMode::non_maskable:
    case DeliveryMode::init:
    case DeliveryMode::external:
        return mode;
    default: // reserved in the table
        return std::nullopt;
    }
}

std::optional<std::uint8_t> VirtualLocalApic::lvt_timer_vector() const {
    if (lvt_masked(timer)) {
        return std::nullopt;
    }
    return std::uint8_t(lvt_[timer].get() & apic_lvt::vector);
}

std::optional<ApicTimerDeadline> VirtualLocalApic::timer_deadline() const {
    return lvt_masked(timer) ? std::nullopt : timer_.deadline();
}

bool VirtualLocalApic::timer_expire(ApicTime now) {
    const bool expired = timer_.expire(now);
    const auto vector = lvt_timer_vector();
    return expired && vector && accept(*vector, false);
}

LocalApicState VirtualLocalApic::save(ApicTime now) const {
    LocalApicState state{
        .id = id_register(),
        .version = version_value,
        .logical_destination = logical_destination(),
        .destination_format = dfr_.get(),
        .spurious_vector = svr_.get(),
        .error_status = esr_,
        .command_high = std::uint32_t(icr_ >> 32),
        .command_low = std::uint32_t(icr_),
        .lvt_timer = lvt_[timer].get(),
        .lvt_thermal = lvt_[thermal].get(),
        .lvt_performance = lvt_[performance].get(),
        .lvt_pin0 = lvt_[pin0].get(),
        .lvt_pin1 = lvt_[pin1].get(),
        .lvt_error = lvt_[error].get(),
        .pending_errors = pending_errors_.load(std::memory_order_relaxed),
        .timer_initial_count = timer_.initial_count(),
        .timer_current_count = timer_.current_count(now),
        .timer_divide = timer_.divide_configuration(),
    };
    for (std::size_t index = 0; index < VectorBitmap::register_count; ++index) {
        state.in_service[index] = isr_.load_register(index);
        state.trigger_mode[index] = tmr_.load_register(index);
        state.interrupt_request[index] = irr_.load_register(index);
    }
    return state;
}

std::expected<void, ApicRestoreError> VirtualLocalApic::restore(
    const LocalApicState& state, ApicTime now) {
    if (state.id != id() && state.id != id() << 24) {
        return std::unexpected(ApicRestoreError::wrong_id);
    }
    if (holds_illegal_vector(state.in_service) || holds_illegal_vector(state.trigger_mode) ||
        holds_illegal_vector(state.interrupt_request)) {
        return std::unexpected(ApicRestoreError::illegal_vector);
    }
    const bool deadline_mode = (state.lvt_timer & apic_lvt::timer_tsc_deadline) != 0;
    if (state.timer_current_count > state.timer_initial_count ||
        (state.lvt_timer & timer_mode_bits) == timer_mode_bits ||
        (deadline_mode && !features_.tsc_deadline)) {
        return std::unexpected(ApicRestoreError::illegal_timer);
    }

    ldr_.set(state.logical_destination & xapic_id_mask);
    dfr_.set(state.destination_format | format_fixed_bits);
    svr_.set(state.spurious_vector & spurious_bits);
    esr_ = state.error_status;
    pending_errors_.store(state.pending_errors, std::memory_order_relaxed);
    icr_ = std::uint64_t{state.command_high} << 32 | (state.command_low & command_bits);
    const std::array<std::uint32_t, lvt_count> entries{state.lvt_timer, state.lvt_thermal,
        state.lvt_performance, state.lvt_pin0, state.lvt_pin1, state.lvt_error};
    for (unsigned index = 0; index < lvt_count; ++index) {
        set_lvt(LvtIndex(index), entries[index]);
    }
    timer_.restore(state.timer_divide, state.timer_initial_count, state.timer_current_count, now);
    for (std::size_t index = 0; index < VectorBitmap::register_count; ++index) {
        isr_.store_register(index, state.in_service[index]);
        tmr_.store_register(index, state.trigger_mode[index]);
        irr_.store_register(index, state.interrupt_request[index]);
    }
    return {};
}

void VirtualLocalApic::save(std::span<std::byte, register_page_size> page, ApicTime now) const {
    for (std::size_t number = 0; number < register_page_size / 16; ++number) {
        const std::uint32_t value = read_register(ApicRegister(number), now).value_or(0);
        for (std::size_t lane = 0; lane < 16; ++lane) {
            page[number * 16 + lane] = lane < 4 ? std::byte(value >> (8 * lane)) : std::byte{0};
        }
    }
}

std::expected<void, ApicRestoreError> VirtualLocalApic::restore(
    std::span<const std::byte, register_page_size> page, ApicTime now) {
    const auto value = [&page](ApicRegister which, std::size_t index = 0) {
        const std::size_t offset = apic_offset(which) + 16 * index;
        std::uint32_t result = 0;
        for (unsigned lane = 0; lane < 4; ++lane) {
            result |= std::to_integer<std::uint32_t>(page[offset + lane]) << (8 * lane);
        }
        return result;
    };
    LocalApicState state{
        .id = value(ApicRegister::id),
        .logical_destination = value(ApicRegister::logical_destination),
        .destination_format = value(ApicRegister::destination_format),
        .spurious_vector = value(ApicRegister::spurious_vector),
        .error_status = value(ApicRegister::error_status),
        .command_high = value(ApicRegister::interrupt_command_high),
        .command_low = value(ApicRegister::interrupt_command_low),
        .lvt_timer = value(ApicRegister::lvt_timer),
        .lvt_thermal = value(ApicRegister::lvt_thermal),
        .lvt_performance = value(ApicRegister::lvt_performance),
        .lvt_pin0 = value(ApicRegister::lvt_pin0),
        .lvt_pin1 = value(ApicRegister::lvt_pin1),
        .lvt_error = value(ApicRegister::lvt_error),
        .timer_initial_count = value(ApicRegister::timer_initial_count),
        .timer_current_count = value(ApicRegister::timer_current_count),
        .timer_divide = value(ApicRegister::timer_divide),
    };
    for (std::size_t index = 0; index < VectorBitmap::register_count; ++index) {
        state.in_service[index] = value(ApicRegister::in_service_first, index);
        state.trigger_mode[index] = value(ApicRegister::trigger_mode_first, index);
        state.interrupt_request[index] = value(ApicRegister::interrupt_request_first, index);
    }
    if (const auto done = restore(state, now); !done) {
        return done;
    }
    tpr_.set(value(ApicRegister::task_priority) & 0xFF);
    return {};
}

bool VirtualLocalApic::restore_base(std::uint64_t value) {
    if (!legal_base(value)) {
        return false;
    }
    base_.set(std::uint32_t(value & ~apic_base::bootstrap));
    return true;
}

/// Software can neither move the page nor make another processor the bootstrap one; the flag's
/// value is ignored.
bool VirtualLocalApic::legal_base(std::uint64_t value) const {
    const bool extended = (value & apic_base::extended) != 0;
    const bool enabled = (value & apic_base::enabled) != 0;
    const std::uint64_t flags = apic_base::bootstrap | apic_base::extended | apic_base::enabled;
    return (value & ~flags) == apic_base::address && (!enabled || features_.present) &&
        !(extended && !(enabled && features_.x2apic));
}

std::uint32_t VirtualLocalApic::id_register() const {
    return mode() == Mode::x2apic ? id() : id() << 24;
}

/// In x2APIC mode it follows from the ID (SDM vol. 3, 11.12.10.2).
std::uint32_t VirtualLocalApic::logical_destination() const {
    return mode() == Mode::x2apic ? (id() >> 4) << 16 | 1U << (id() & 0xF) : ldr_.get();
}

/// The register's value if there is such a register, without regard to the mode.
std::optional<std::uint32_t> VirtualLocalApic::read_register(
    ApicRegister which, ApicTime now) const {
    if (in_range(which, ApicRegister::in_service_first, ApicRegister::in_service_last)) {
        return isr_.load_register(distance(ApicRegister::in_service_first, which));
    }
    if (in_range(which, ApicRegister::trigger_mode_first, ApicRegister::trigger_mode_last)) {
        return tmr_.load_register(distance(ApicRegister::trigger_mode_first, which));
    }
    if (in_range(
            which, ApicRegister::interrupt_request_first, ApicRegister::interrupt_request_last)) {
        return irr_.load_register(distance(ApicRegister::interrupt_request_first, which));
    }
    if (is_lvt(which)) {
        return lvt_[distance(ApicRegister::lvt_timer, which)].get();
    }
    switch (which) {
    case ApicRegister::id:
        return id_register();
    case ApicRegister::version:
        return version_value;
    case ApicRegister::task_priority:
        return tpr();
    case ApicRegister::arbitration_priority:
        return arbitration_priority();
    case ApicRegister::processor_priority:
        return ppr();
    case ApicRegister::end_of_interrupt: // write-only
    case ApicRegister::remote_read:      // no APIC can be read by another
        return 0;
    case ApicRegister::logical_destination:
        return logical_destination();
    case ApicRegister::destination_format:
        return dfr_.get();
    case ApicRegister::spurious_vector:
        return svr_.get();
    case ApicRegister::error_status:
        return esr_;
    case ApicRegister::interrupt_command_low:
        return std::uint32_t(icr_);
    case ApicRegister::interrupt_command_high:
        return std::uint32_t(icr_ >> 32);
    case ApicRegister::timer_initial_count:
        return timer_.initial_count();
    case ApicRegister::timer_current_count:
        return timer_.current_count(now);
    case ApicRegister::timer_divide:
        return timer_.divide_configuration();
    default:
        return std::nullopt;
    }
}

/// Which bits of the register software can set; none for one that isn't there or is read-only.
std::optional<std::uint32_t> VirtualLocalApic::writable_bits(ApicRegister which) const {
    if (is_lvt(which)) {
        return legal_lvt_bits(LvtIndex(distance(ApicRegister::lvt_timer, which)));
    }
    switch (which) {
    case ApicRegister::task_priority:
    case ApicRegister::self_interrupt:
        return 0xFF;
    case ApicRegister::end_of_interrupt:
    case ApicRegister::error_status:
        return 0;
    case ApicRegister::logical_destination:
    case ApicRegister::interrupt_command_high:
        return xapic_id_mask;
    case ApicRegister::destination_format:
        return ~format_fixed_bits;
    case ApicRegister::spurious_vector:
        return spurious_bits;
    case ApicRegister::interrupt_command_low:
        return command_bits;
    case ApicRegister::timer_initial_count:
        return 0xFFFFFFFF;
    case ApicRegister::timer_divide:
        return divide_bits;
    default:
        return std::nullopt;
    }
}

/// `value` has no bits but the writable ones.
void VirtualLocalApic::write_register(
    ApicRegister which, std::uint32_t value, ApicTime now, LocalApicEffect& effect) {
    if (is_lvt(which)) {
        write_lvt(LvtIndex(distance(ApicRegister::lvt_timer, which)), value, now, effect);
        return;
    }
    switch (which) {
    case ApicRegister::task_priority:
        effect.recheck_interrupts = set_tpr(std::uint8_t(value));
        break;
    case ApicRegister::end_of_interrupt:
        effect.end_of_interrupt = eoi();
        effect.recheck_interrupts = effect.end_of_interrupt.has_value() && has_request();
        break;
    case ApicRegister::logical_destination:
        ldr_.set(value);
        break;
    case ApicRegister::destination_format:
        dfr_.set(value | format_fixed_bits);
        break;
    case ApicRegister::spurious_vector:
        write_spurious_vector(value, now, effect);
        break;
    case ApicRegister::error_status:
        // A write shows what has gathered since the last one, and lets the next error interrupt.
        esr_ = pending_errors_.exchange(0, std::memory_order_relaxed);
        break;
    case ApicRegister::interrupt_command_low:
        effect = write_command((icr_ & ~std::uint64_t{0xFFFFFFFF}) | value);
        break;
    case ApicRegister::interrupt_command_high:
        icr_ = std::uint64_t{value} << 32 | std::uint32_t(icr_);
        break;
    case ApicRegister::self_interrupt:
        send({.vector = std::uint8_t(value), .shorthand = DestinationShorthand::self}, effect);
        break;
    case ApicRegister::timer_initial_count:
        effect.recheck_interrupts = timer_expire(now);
        timer_.set_initial_count(value, now);
        effect.timer_changed = true;
        break;
    case ApicRegister::timer_divide: {
        const auto before = timer_deadline();
        effect.recheck_interrupts = timer_expire(now);
        timer_.set_divide_configuration(value, now);
        effect.timer_changed = timer_deadline() != before;
        break;
    }
    default:
        break;
    }
}

void VirtualLocalApic::write_spurious_vector(
    std::uint32_t value, ApicTime now, LocalApicEffect& effect) {
    const bool was_enabled = software_enabled();
    if (was_enabled && (value & apic_spurious::software_enable) == 0) {
        effect.recheck_interrupts = timer_expire(now);
        effect.timer_changed = true;
        for (OwnedWord& entry : lvt_) {
            entry.set(entry.get() | apic_lvt::masked);
        }
    }
    svr_.set(value);
}

void VirtualLocalApic::write_lvt(
    LvtIndex index, std::uint32_t value, ApicTime now, LocalApicEffect& effect) {
    if (index != timer) {
        set_lvt(index, value);
        return;
    }
    // What the old entry was to raise by now, it raises; what it hid stays hidden.
    effect.recheck_interrupts = timer_expire(now);
    if ((value & timer_mode_bits) == timer_mode_bits) {
        value &= ~timer_mode_bits; // reserved
    }
    set_lvt(index, value);
    effect.timer_changed = true;
}

/// The timer's entry sets the timer's mode. While software has disabled the APIC all entries stay
/// masked (SDM vol. 3, 11.4.7.2).
void VirtualLocalApic::set_lvt(LvtIndex index, std::uint32_t value) {
    const std::uint32_t forced = software_enabled() ? 0 : apic_lvt::masked;
    lvt_[index].set((value & legal_lvt_bits(index)) | forced);
    if (index == timer) {
        timer_.set_mode(timer_mode());
    }
}

std::uint32_t VirtualLocalApic::legal_lvt_bits(LvtIndex index) const {
    constexpr std::uint32_t common = apic_lvt::vector | apic_lvt::masked;
    switch (index) {
    case timer:
        return common | apic_lvt::timer_periodic |
            (features_.tsc_deadline ? apic_lvt::timer_tsc_deadline : 0);
    case thermal:
    case performance:
        return common | apic_lvt::delivery_mode;
    case pin0:
    case pin1:
        return common | apic_lvt::delivery_mode | apic_lvt::active_low | apic_lvt::level_triggered;
    default:
        return common;
    }
}

bool VirtualLocalApic::lvt_masked(LvtIndex index) const {
    return (lvt_[index].get() & apic_lvt::masked) != 0;
}

ApicTimerMode VirtualLocalApic::timer_mode() const {
    const std::uint32_t entry = lvt_[timer].get();
    if ((entry & apic_lvt::timer_tsc_deadline) != 0) {
        return ApicTimerMode::tsc_deadline;
    }
    return (entry & apic_lvt::timer_periodic) != 0 ? ApicTimerMode::periodic
                                                   : ApicTimerMode::one_shot;
}

/// A fixed interrupt to itself goes straight into IRR; all else is the owner's to route.
void VirtualLocalApic::send(const InterruptCommand& command, LocalApicEffect& effect) {
    if (!worth_sending(command)) {
        return;
    }
    const bool has_vector =
        command.mode == DeliveryMode::fixed || command.mode == DeliveryMode::lowest_priority;
    if (has_vector && command.vector < first_legal_vector) {
        effect.recheck_interrupts = report_error(apic_error::sent_illegal_vector);
        return;
    }
    if (command.shorthand == DestinationShorthand::self && command.mode == DeliveryMode::fixed) {
        effect.recheck_interrupts = accept(command.vector, command.level_triggered);
        return;
    }
    effect.command = command;
}

/// From any processor. Whether the error interrupt is newly pending: only the first error since the
/// last write to the error status register raises it.
bool VirtualLocalApic::report_error(std::uint32_t errors) {
    const std::uint32_t before = pending_errors_.fetch_or(errors, std::memory_order_relaxed);
    if (before != 0 || lvt_masked(error)) {
        return false;
    }
    const std::uint8_t vector = std::uint8_t(lvt_[error].get() & apic_lvt::vector);
    if (vector < first_legal_vector) {
        pending_errors_.fetch_or(apic_error::received_illegal_vector, std::memory_order_relaxed);
        return false;
    }
    tmr_.erase(vector);
    return irr_.insert(vector);
}

} // namespace hypervisor
