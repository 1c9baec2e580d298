// SPDX-License-Identifier: Apache-2.0
//
// The registers of a virtual local APIC, as software reads and writes them.
#include "hypervisor/apic/virtual_local_apic.hpp"

namespace hypervisor {

namespace {

constexpr std::uint32_t command_delivery_status = 1U << 12;

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
    if (which == ApicRegister::lvt_timer &&
        (value & apic_kept::timer_mode) == apic_kept::timer_mode) {
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
    const std::uint64_t destination_bits = std::uint64_t{wide ? 0xFFFFFFFF : apic_kept::xapic_id}
        << 32;
    icr_ = value & (destination_bits | apic_kept::command);
    LocalApicEffect effect;
    send(decode_interrupt_command(icr_, wide), effect);
    return effect;
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
        return apic_version;
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
        return apic_kept::xapic_id;
    case ApicRegister::destination_format:
        return ~apic_kept::format_fixed;
    case ApicRegister::spurious_vector:
        return apic_kept::spurious;
    case ApicRegister::interrupt_command_low:
        return apic_kept::command;
    case ApicRegister::timer_initial_count:
        return 0xFFFFFFFF;
    case ApicRegister::timer_divide:
        return apic_kept::divide;
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
        dfr_.set(value | apic_kept::format_fixed);
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
    if ((value & apic_kept::timer_mode) == apic_kept::timer_mode) {
        value &= ~apic_kept::timer_mode; // reserved
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

/// A fixed interrupt to itself goes straight into IRR, and is told; all else is the owner's to
/// route.
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
    }
    effect.command = command;
}

} // namespace hypervisor
