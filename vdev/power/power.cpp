// SPDX-License-Identifier: Apache-2.0
#include "vdev/power/power.hpp"

#include <utility>

namespace croft::vdev {

namespace {

// PM1 status, enable and control bits (ACPI 6.5, tables 4.11 to 4.13).
constexpr std::uint16_t timer_status = 1U << 0;
constexpr std::uint16_t power_button = 1U << 8;
constexpr std::uint16_t status_bits = 0x8731;
constexpr std::uint16_t enable_bits = 0x4721;

constexpr std::uint16_t sci_enabled = 1U << 0;
constexpr unsigned sleep_type_shift = 10;
constexpr std::uint16_t sleep_type_mask = 7;
constexpr std::uint16_t sleep_enable = 1U << 13;
constexpr std::uint16_t control_kept = 0x1c07;

/// ACPI 6.5, 4.8.3.3.
constexpr std::uint64_t timer_frequency = 3'579'545;
constexpr unsigned half_period_shift = 31;

/// A reset of the processor, whatever kind: bit 2 of port 0xcf9 (as in Intel's ICH data sheets).
constexpr std::uint8_t reset_processor = 1U << 2;

} // namespace

Power::Power(PowerRequests requests) : requests_(std::move(requests)) {}

void Power::configure(Platform& platform) {
    Claim block = platform.bus.claim_ports(
        name(), PowerLayout::event_port, PowerLayout::block_size, 4, *this);
    Claim reset_register = platform.bus.claim_ports(name(), PowerLayout::reset_port, 1, 1, *this);
    line_ = platform.bus.claim_line(name(), PowerLayout::sci_line);
    block_ = std::move(block);
    reset_register_ = std::move(reset_register);
    clock_ = &platform.clock;
    timer_ = platform.timers.create_timer([this] { on_timer(); });
    reset();
}

void Power::start() {
    const std::lock_guard lock(mutex_);
    running_ = true;
    arm_timer();
}

void Power::stop() {
    const std::lock_guard lock(mutex_);
    running_ = false;
    timer_->disarm();
}

Record Power::save() const {
    const std::lock_guard lock(mutex_);
    return state_.save();
}

void Power::restore(const Record& record) {
    const PowerState loaded = PowerState::load(record);
    const std::lock_guard lock(mutex_);
    state_ = loaded;
    line_.assume((state_.status & state_.enable) != 0);
}

void Power::reset() {
    const std::lock_guard lock(mutex_);
    state_ = {};
    // There is no system management mode to leave: the hardware is in ACPI mode from the start.
    state_.control = sci_enabled;
    state_.timer_half_periods = ticks() >> half_period_shift;
    update_line();
}

void Power::remove() {
    timer_.reset();
    block_.release();
    reset_register_.release();
    line_ = {};
}

void Power::press_button() {
    const std::lock_guard lock(mutex_);
    state_.status |= power_button;
    update_line();
}

std::uint64_t Power::ticks() const {
    return scale(clock_->now(), timer_frequency, nanoseconds_per_second);
}

void Power::update_timer_status() {
    const std::uint64_t half_periods = ticks() >> half_period_shift;
    if (half_periods != state_.timer_half_periods) {
        state_.timer_half_periods = half_periods;
        state_.status |= timer_status;
    }
}

void Power::arm_timer() {
    if (!running_ || (state_.enable & timer_status) == 0) {
        timer_->disarm();
        return;
    }
    const std::uint64_t next = ((ticks() >> half_period_shift) + 1) << half_period_shift;
    timer_->arm(scale(next, nanoseconds_per_second, timer_frequency) + 1);
}

void Power::update_line() {
    line_.set((state_.status & state_.enable) != 0);
}

void Power::on_timer() {
    const std::lock_guard lock(mutex_);
    if (!running_) {
        return;
    }
    update_timer_status();
    update_line();
    arm_timer();
}

std::uint16_t Power::read_word(std::uint16_t port) {
    switch (port) {
    case PowerLayout::event_port:
        update_timer_status();
        return state_.status;
    case PowerLayout::event_port + 2:
        return state_.enable;
    case PowerLayout::control_port:
        return state_.control;
    default:
        return 0;
    }
}

std::uint32_t Power::port_read(std::uint16_t port, unsigned size) {
    const std::lock_guard lock(mutex_);
    if (port == PowerLayout::reset_port) {
        return 0;
    }
    if (port >= PowerLayout::timer_port) {
        const auto value = static_cast<std::uint32_t>(ticks());
        return value >> ((port - PowerLayout::timer_port) * 8U);
    }
    const auto word = static_cast<std::uint16_t>(port & ~1U);
    std::uint32_t value = read_word(word);
    if (size == 4) {
        value |= std::uint32_t{read_word(static_cast<std::uint16_t>(word + 2))} << 16;
    }
    return value >> ((port & 1U) * 8);
}

void Power::port_write(std::uint16_t port, unsigned size, std::uint32_t value) {
    std::unique_lock lock(mutex_);
    if (port == PowerLayout::reset_port) {
        write_reset(static_cast<std::uint8_t>(value), lock);
        return;
    }
    // The registers are words; a byte changes its half of one.
    const auto word = static_cast<std::uint16_t>(port & ~1U);
    const unsigned shift = (port & 1U) * 8;
    const auto written = static_cast<std::uint16_t>(value << shift);
    const auto mask = static_cast<std::uint16_t>(size == 1 ? 0xffU << shift : 0xffffU);
    switch (word) {
    case PowerLayout::event_port:
        // Status bits are cleared by writing ones.
        update_timer_status();
        state_.status = static_cast<std::uint16_t>(state_.status & ~(written & mask & status_bits));
        break;
    case PowerLayout::event_port + 2:
        state_.enable =
            static_cast<std::uint16_t>((state_.enable & ~mask) | (written & mask & enable_bits));
        update_timer_status();
        arm_timer();
        break;
    case PowerLayout::control_port:
        write_control(
            static_cast<std::uint16_t>((state_.control & ~mask) | (written & mask)), lock);
        return;
    default:
        break;
    }
    update_line();
    if (size == 4 && word == PowerLayout::event_port) {
        lock.unlock();
        port_write(static_cast<std::uint16_t>(word + 2), 2, value >> 16);
    }
}

void Power::write_control(std::uint16_t value, std::unique_lock<std::mutex>& lock) {
    state_.control = static_cast<std::uint16_t>((value & control_kept) | sci_enabled);
    const unsigned type = (value >> sleep_type_shift) & sleep_type_mask;
    if ((value & sleep_enable) != 0 && type == PowerLayout::soft_off_type) {
        lock.unlock();
        requests_.power_off();
    }
}

void Power::write_reset(std::uint8_t value, std::unique_lock<std::mutex>& lock) {
    if ((value & reset_processor) != 0) {
        lock.unlock();
        requests_.reset();
    }
}

} // namespace croft::vdev
