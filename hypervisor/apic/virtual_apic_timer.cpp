// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/apic/virtual_apic_timer.hpp"

#include <algorithm>
#include <limits>

namespace hypervisor {

namespace {

constexpr std::uint32_t divide_bits = 0b1011;

} // namespace

void VirtualApicTimer::set_mode(ApicTimerMode mode) {
    if (mode == mode_) {
        return;
    }
    if (mode == ApicTimerMode::tsc_deadline || mode_ == ApicTimerMode::tsc_deadline) {
        armed_ = false;
        zero_at_ = 0;
    }
    mode_ = mode;
}

void VirtualApicTimer::set_initial_count(std::uint32_t count, ApicTime now) {
    if (mode_ == ApicTimerMode::tsc_deadline) {
        return;
    }
    initial_count_ = count;
    start(count, now);
}

std::uint32_t VirtualApicTimer::current_count(ApicTime now) const {
    if (!armed_ || mode_ == ApicTimerMode::tsc_deadline) {
        return 0;
    }
    std::uint64_t left = zero_at_ - now.bus;
    if (now.bus >= zero_at_) {
        if (mode_ == ApicTimerMode::one_shot) {
            return 0;
        }
        left = period() - (now.bus - zero_at_) % period();
    }
    // A count that has begun is shown until its last tick.
    const std::uint64_t tick = std::uint64_t{1} << divisor_shift();
    return std::uint32_t((left + tick - 1) >> divisor_shift());
}

void VirtualApicTimer::restore(std::uint32_t divide_configuration, std::uint32_t initial_count,
    std::uint32_t current_count, ApicTime now) {
    divide_configuration_ = divide_configuration & divide_bits;
    initial_count_ = initial_count;
    if (mode_ != ApicTimerMode::tsc_deadline) {
        start(std::min(current_count, initial_count), now);
    }
}

void VirtualApicTimer::set_divide_configuration(std::uint32_t value, ApicTime now) {
    const std::uint32_t count = current_count(now);
    divide_configuration_ = value & divide_bits;
    if (mode_ != ApicTimerMode::tsc_deadline && armed_) {
        start(count, now);
    }
}

std::uint64_t VirtualApicTimer::tsc_deadline() const {
    return mode_ == ApicTimerMode::tsc_deadline && armed_ ? zero_at_ : 0;
}

void VirtualApicTimer::set_tsc_deadline(std::uint64_t value) {
    if (mode_ == ApicTimerMode::tsc_deadline) {
        zero_at_ = value;
        armed_ = value != 0;
    }
}

std::optional<ApicTimerDeadline> VirtualApicTimer::deadline() const {
    if (!armed_) {
        return std::nullopt;
    }
    const bool tsc = mode_ == ApicTimerMode::tsc_deadline;
    return ApicTimerDeadline{
        tsc ? ApicTimerDeadline::Clock::tsc : ApicTimerDeadline::Clock::bus, zero_at_};
}

bool VirtualApicTimer::expire(ApicTime now) {
    const std::uint64_t clock = mode_ == ApicTimerMode::tsc_deadline ? now.tsc : now.bus;
    if (!armed_ || clock < zero_at_) {
        return false;
    }
    if (mode_ == ApicTimerMode::periodic) {
        const std::uint64_t missed = (clock - zero_at_) / period();
        zero_at_ += (missed + 1) * period();
    } else {
        armed_ = false;
        zero_at_ = 0;
    }
    return true;
}

/// The divisor is a power of two; bit 2 of the register isn't part of its number.
unsigned VirtualApicTimer::divisor_shift() const {
    const unsigned number = ((divide_configuration_ >> 1) & 4) | (divide_configuration_ & 3);
    return (number + 1) % 8;
}

std::uint64_t VirtualApicTimer::period() const {
    return std::uint64_t{initial_count_} << divisor_shift();
}

void VirtualApicTimer::start(std::uint32_t count, ApicTime now) {
    const std::uint64_t length = std::uint64_t{count} << divisor_shift();
    constexpr std::uint64_t latest = std::numeric_limits<std::uint64_t>::max();
    armed_ = count != 0;
    zero_at_ = length > latest - now.bus ? latest : now.bus + length;
}

} // namespace hypervisor
