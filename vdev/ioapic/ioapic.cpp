// SPDX-License-Identifier: Apache-2.0
#include "vdev/ioapic/ioapic.hpp"

namespace croft::vdev {

namespace {

// Registers and the fields of a redirection entry (82093AA data sheet, 3.0 and 3.2).
constexpr std::uint64_t select_offset = 0x00;
constexpr std::uint64_t window_offset = 0x10;

constexpr std::uint8_t index_id = 0x00;
constexpr std::uint8_t index_version = 0x01;
constexpr std::uint8_t index_arbitration = 0x02;
constexpr std::uint8_t index_redirection = 0x10;

constexpr std::uint32_t version = 0x11;

constexpr unsigned delivery_mode_shift = 8;
constexpr std::uint64_t logical_bit = std::uint64_t{1} << 11;
constexpr std::uint64_t status_bit = std::uint64_t{1} << 12;
constexpr std::uint64_t remote_irr_bit = std::uint64_t{1} << 14;
constexpr std::uint64_t level_bit = std::uint64_t{1} << 15;
constexpr unsigned destination_shift = 56;
/// What a guest can change in an entry: all but the two status bits and what is reserved.
constexpr std::uint64_t writable = 0xff00'0000'0001'afff;

} // namespace

IoApic::IoApic(InterruptSink& sink, std::uint64_t address) : sink_(sink), address_(address) {}

void IoApic::configure(Platform& platform) {
    window_ = platform.bus.claim_mmio(name(), address_, window_size, *this);
    bus_ = &platform.bus;
    bus_->connect(this);
}

void IoApic::start() {}

void IoApic::stop() {}

Record IoApic::save() const {
    const std::lock_guard lock(mutex_);
    return state_.save();
}

void IoApic::restore(const Record& record) {
    const IoApicState loaded = IoApicState::load(record);
    const std::lock_guard lock(mutex_);
    state_ = loaded;
}

void IoApic::reset() {
    const std::lock_guard lock(mutex_);
    // The pins belong to the devices, which reset them themselves.
    const std::uint32_t levels = state_.levels;
    state_ = {};
    state_.levels = levels;
}

void IoApic::remove() {
    bus_->connect(nullptr);
    window_.release();
}

void IoApic::set_line(unsigned line, bool asserted) {
    if (line >= IoApicState::pin_count) {
        return;
    }
    const std::lock_guard lock(mutex_);
    const std::uint32_t bit = 1U << line;
    const bool was_asserted = (state_.levels & bit) != 0;
    state_.levels = asserted ? state_.levels | bit : state_.levels & ~bit;
    if (!asserted || was_asserted) {
        return;
    }
    const std::uint64_t entry = state_.redirection[line];
    if ((entry & level_bit) != 0) {
        deliver_level(line);
    } else if ((entry & IoApicState::masked) == 0) {
        // An edge at a masked pin is lost (82093AA, 3.2.4, interrupt mask).
        deliver(line);
    }
}

void IoApic::end_of_interrupt(std::uint8_t vector) {
    const std::lock_guard lock(mutex_);
    for (unsigned pin = 0; pin < IoApicState::pin_count; ++pin) {
        std::uint64_t& entry = state_.redirection[pin];
        if ((entry & remote_irr_bit) != 0 && static_cast<std::uint8_t>(entry) == vector) {
            entry &= ~remote_irr_bit;
            deliver_level(pin);
        }
    }
}

std::uint64_t IoApic::mmio_read(std::uint64_t offset, unsigned /*size*/) {
    const std::lock_guard lock(mutex_);
    switch (offset) {
    case select_offset:
        return state_.selected;
    case window_offset:
        return read_register();
    default:
        return 0;
    }
}

void IoApic::mmio_write(std::uint64_t offset, unsigned /*size*/, std::uint64_t value) {
    const std::lock_guard lock(mutex_);
    switch (offset) {
    case select_offset:
        state_.selected = static_cast<std::uint8_t>(value);
        break;
    case window_offset:
        write_register(static_cast<std::uint32_t>(value));
        break;
    default:
        break;
    }
}

std::uint32_t IoApic::read_register() const {
    switch (state_.selected) {
    case index_id:
    case index_arbitration:
        return std::uint32_t{state_.id} << 24;
    case index_version:
        return version | ((IoApicState::pin_count - 1) << 16);
    default:
        break;
    }
    const unsigned pin = (state_.selected - unsigned{index_redirection}) / 2;
    if (state_.selected < index_redirection || pin >= IoApicState::pin_count) {
        return 0;
    }
    const bool high = (state_.selected & 1U) != 0;
    return static_cast<std::uint32_t>(state_.redirection[pin] >> (high ? 32 : 0));
}

void IoApic::write_register(std::uint32_t value) {
    if (state_.selected == index_id) {
        state_.id = (value >> 24) & 0x0f;
        return;
    }
    const unsigned pin = (state_.selected - unsigned{index_redirection}) / 2;
    if (state_.selected >= index_redirection && pin < IoApicState::pin_count) {
        write_redirection(pin, (state_.selected & 1U) != 0, value);
    }
}

void IoApic::write_redirection(unsigned pin, bool high, std::uint32_t value) {
    std::uint64_t& entry = state_.redirection[pin];
    const unsigned shift = high ? 32 : 0;
    const std::uint64_t mask = (std::uint64_t{0xffff'ffff} << shift) & writable;
    entry = (entry & ~mask) | ((std::uint64_t{value} << shift) & mask);
    if ((entry & level_bit) == 0) {
        // A pin that became edge-triggered has nobody left who would end its interrupt.
        entry &= ~remote_irr_bit;
        return;
    }
    deliver_level(pin);
}

void IoApic::deliver_level(unsigned pin) {
    std::uint64_t& entry = state_.redirection[pin];
    const bool asserted = ((state_.levels >> pin) & 1U) != 0;
    if (asserted && (entry & level_bit) != 0 &&
        (entry & (IoApicState::masked | remote_irr_bit)) == 0) {
        entry |= remote_irr_bit;
        deliver(pin);
    }
}

void IoApic::deliver(unsigned pin) {
    const std::uint64_t entry = state_.redirection[pin] & ~status_bit;
    sink_.deliver({
        .vector = static_cast<std::uint8_t>(entry),
        .delivery_mode = static_cast<std::uint8_t>((entry >> delivery_mode_shift) & 7U),
        .destination = static_cast<std::uint8_t>(entry >> destination_shift),
        .logical = (entry & logical_bit) != 0,
        .level = (entry & level_bit) != 0,
    });
}

} // namespace croft::vdev
