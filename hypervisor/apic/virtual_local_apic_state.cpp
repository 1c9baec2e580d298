// SPDX-License-Identifier: Apache-2.0
//
// The whole state of a virtual local APIC, to be kept or moved.
#include "hypervisor/apic/virtual_local_apic.hpp"

namespace hypervisor {

namespace {

bool holds_illegal_vector(const std::array<std::uint32_t, 8>& bitmap) {
    return (bitmap[0] & ((1U << first_legal_vector) - 1)) != 0;
}

} // namespace

LocalApicState VirtualLocalApic::save(ApicTime now) const {
    LocalApicState state{
        .id = id_register(),
        .version = apic_version,
        .logical_destination = logical_destination(),
        .destination_format = mode() == Mode::x2apic ? 0 : dfr_.get(),
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
        (state.lvt_timer & apic_kept::timer_mode) == apic_kept::timer_mode ||
        (deadline_mode && !features_.tsc_deadline)) {
        return std::unexpected(ApicRestoreError::illegal_timer);
    }

    ldr_.set(state.logical_destination & apic_kept::xapic_id);
    if (mode() != Mode::x2apic) { // which has none
        dfr_.set(state.destination_format | apic_kept::format_fixed);
    }
    svr_.set(state.spurious_vector & apic_kept::spurious);
    esr_ = state.error_status;
    pending_errors_.store(state.pending_errors, std::memory_order_relaxed);
    icr_ = std::uint64_t{state.command_high} << 32 | (state.command_low & apic_kept::command);
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

} // namespace hypervisor
