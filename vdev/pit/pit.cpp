// SPDX-License-Identifier: Apache-2.0
#include "vdev/pit/pit.hpp"

#include <algorithm>
#include <utility>

namespace croft::vdev {

namespace {

/// 105/88 MHz, a twelfth of the PC's 14.318 MHz crystal.
constexpr std::uint64_t frequency = 1'193'182;

// The control word (Intel 8254 data sheet, figure 7) and the read-back command (figure 10).
constexpr unsigned channel_shift = 6;
constexpr unsigned access_shift = 4;
constexpr unsigned mode_shift = 1;
constexpr unsigned read_back_channel = 3;
constexpr std::uint8_t read_back_no_count = 0x20;
constexpr std::uint8_t read_back_no_status = 0x10;
constexpr std::uint8_t access_low = 1;
constexpr std::uint8_t access_high = 2;
constexpr std::uint8_t access_both = 3;
constexpr std::uint8_t status_output = 0x80;
constexpr std::uint8_t status_null_count = 0x40;

// Port 0x61 (IBM PC/AT technical reference, system control port B).
constexpr std::uint8_t gate_2 = 0x01;
constexpr std::uint8_t port_61_written = 0x03;
constexpr std::uint8_t refresh = 0x10;
constexpr std::uint8_t output_2 = 0x20;
constexpr std::uint64_t refresh_period = 15'085;

constexpr bool is_periodic(std::uint8_t mode) {
    return mode == 2 || mode == 3;
}

/// Modes 1 and 5 start at the gate's edge, the others when the count is written.
constexpr bool starts_by_gate(std::uint8_t mode) {
    return mode == 1 || mode == 5;
}

} // namespace

void Pit::configure(Platform& platform) {
    Claim ports = platform.bus.claim_ports(name(), port, 4, 1, *this);
    Claim control = platform.bus.claim_ports(name(), control_port, 1, 1, *this);
    line_ = platform.bus.claim_line(name(), line);
    ports_ = std::move(ports);
    control_ = std::move(control);
    clock_ = &platform.clock;
    timer_ = platform.timers.create_timer([this] { on_timer(); });
    reset();
}

void Pit::start() {
    const std::lock_guard lock(mutex_);
    running_ = true;
    arm_timer();
}

void Pit::stop() {
    const std::lock_guard lock(mutex_);
    running_ = false;
    timer_->disarm();
}

Record Pit::save() const {
    const std::lock_guard lock(mutex_);
    return state_.save();
}

void Pit::restore(const Record& record) {
    const PitState loaded = PitState::load(record);
    const std::lock_guard lock(mutex_);
    state_ = loaded;
    line_.assume(false);
}

void Pit::reset() {
    const std::lock_guard lock(mutex_);
    state_ = {};
    state_.channels[2].gate = false;
    line_.set(false);
}

void Pit::remove() {
    timer_.reset();
    ports_.release();
    control_.release();
    line_ = {};
}

std::uint64_t Pit::ticks_since_start(const Channel& channel) const {
    const std::uint64_t now = clock_->now();
    return now <= channel.started ? 0
                                  : scale(now - channel.started, frequency, nanoseconds_per_second);
}

std::uint16_t Pit::count(const Channel& channel) const {
    if (!channel.loaded || (!channel.gate && !starts_by_gate(channel.mode))) {
        return static_cast<std::uint16_t>(channel.reload);
    }
    const std::uint64_t ticks = ticks_since_start(channel);
    switch (channel.mode) {
    case 2:
        return static_cast<std::uint16_t>(channel.reload - ticks % channel.reload);
    case 3: // counts by two
        return static_cast<std::uint16_t>(channel.reload - (ticks * 2) % channel.reload);
    default: // goes on below zero
        return static_cast<std::uint16_t>(channel.reload - ticks);
    }
}

bool Pit::output(const Channel& channel) const {
    const std::uint64_t ticks = ticks_since_start(channel);
    switch (channel.mode) {
    case 0:
        return channel.loaded && ticks >= channel.reload;
    case 1:
        return !channel.loaded || ticks >= channel.reload;
    case 2:
        return !channel.loaded || !channel.gate || ticks % channel.reload != channel.reload - 1;
    case 3:
        return !channel.loaded || !channel.gate ||
            ticks % channel.reload < (channel.reload + 1) / 2;
    default:
        return !channel.loaded || ticks != channel.reload;
    }
}

std::uint64_t Pit::rising_edges(const Channel& channel) const {
    if (!channel.loaded || starts_by_gate(channel.mode)) {
        return 0;
    }
    const std::uint64_t ticks = ticks_since_start(channel);
    if (is_periodic(channel.mode)) {
        return channel.gate ? ticks / channel.reload : channel.edges_sent;
    }
    return ticks >= channel.reload ? 1 : 0;
}

std::uint8_t Pit::status(const Channel& channel) const {
    return static_cast<std::uint8_t>((output(channel) ? status_output : 0) |
        (channel.loaded ? 0 : status_null_count) | (channel.access << access_shift) |
        (channel.mode << mode_shift));
}

std::uint8_t Pit::read_channel(Channel& channel) {
    if (std::exchange(channel.status_latched, false)) {
        return channel.latched_status;
    }
    const std::uint16_t value = channel.count_latched ? channel.latched_count : count(channel);
    const bool both = channel.access == access_both;
    const bool high = channel.access == access_high || (both && channel.read_high_next);
    if (both) {
        channel.read_high_next = !channel.read_high_next;
    }
    if (!both || high) {
        channel.count_latched = false;
    }
    return static_cast<std::uint8_t>(high ? value >> 8 : value);
}

std::uint8_t Pit::read_port_61() const {
    const bool toggled = (clock_->now() / refresh_period) % 2 != 0;
    return static_cast<std::uint8_t>(
        state_.port_61 | (toggled ? refresh : 0) | (output(state_.channels[2]) ? output_2 : 0));
}

std::uint32_t Pit::port_read(std::uint16_t at, unsigned /*size*/) {
    const std::lock_guard lock(mutex_);
    if (at == control_port) {
        return read_port_61();
    }
    const auto index = static_cast<unsigned>(at - port);
    return index < PitState::channel_count ? read_channel(state_.channels[index]) : 0xff;
}

void Pit::port_write(std::uint16_t at, unsigned /*size*/, std::uint32_t wide) {
    const std::lock_guard lock(mutex_);
    const auto value = static_cast<std::uint8_t>(wide);
    if (at == control_port) {
        state_.port_61 = value & port_61_written;
        set_gate(state_.channels[2], (value & gate_2) != 0);
        return;
    }
    const auto index = static_cast<unsigned>(at - port);
    if (index < PitState::channel_count) {
        write_channel(index, value);
    } else {
        write_command(value);
    }
}

void Pit::write_command(std::uint8_t value) {
    const unsigned index = value >> channel_shift;
    if (index == read_back_channel) {
        read_back(value);
        return;
    }
    Channel& channel = state_.channels[index];
    const unsigned access = (value >> access_shift) & 3U;
    if (access == 0) {
        latch_count(channel);
        return;
    }
    const unsigned mode = (value >> mode_shift) & 7U;
    const bool gate = channel.gate;
    channel = {};
    channel.gate = gate;
    channel.access = static_cast<std::uint8_t>(access);
    channel.mode = static_cast<std::uint8_t>(mode > 5 ? mode & 3U : mode);
    if (index == 0) {
        arm_timer();
    }
}

void Pit::read_back(std::uint8_t value) {
    for (unsigned index = 0; index < PitState::channel_count; ++index) {
        if ((value & (2U << index)) == 0) {
            continue;
        }
        Channel& channel = state_.channels[index];
        if ((value & read_back_no_count) == 0) {
            latch_count(channel);
        }
        if ((value & read_back_no_status) == 0 && !channel.status_latched) {
            channel.status_latched = true;
            channel.latched_status = status(channel);
        }
    }
}

void Pit::latch_count(Channel& channel) const {
    if (!channel.count_latched) {
        channel.count_latched = true;
        channel.latched_count = count(channel);
        channel.read_high_next = false;
    }
}

void Pit::write_channel(unsigned index, std::uint8_t value) {
    Channel& channel = state_.channels[index];
    switch (channel.access) {
    case access_low:
        load(index, value);
        break;
    case access_high:
        load(index, std::uint32_t{value} << 8);
        break;
    default:
        if (std::exchange(channel.write_high_next, !channel.write_high_next)) {
            load(index, channel.written_low | (std::uint32_t{value} << 8));
        } else {
            channel.written_low = value;
        }
        break;
    }
}

void Pit::load(unsigned index, std::uint32_t value) {
    Channel& channel = state_.channels[index];
    channel.reload = value == 0 ? 65536 : value;
    channel.loaded = true;
    channel.edges_sent = 0;
    channel.started = clock_->now();
    if (index == 0) {
        line_.set(false);
        arm_timer();
    }
}

void Pit::set_gate(Channel& channel, bool gate) const {
    const bool rises = gate && !channel.gate;
    channel.gate = gate;
    // Modes 0 and 4 are only held by the gate; guests raise it before they load, so the time it was
    // low isn't taken out.
    if (rises && (starts_by_gate(channel.mode) || is_periodic(channel.mode))) {
        channel.started = clock_->now();
        channel.edges_sent = 0;
    }
}

void Pit::arm_timer() {
    const Channel& channel = state_.channels[0];
    const bool finished = !is_periodic(channel.mode) && channel.edges_sent != 0;
    if (!running_ || !channel.loaded || starts_by_gate(channel.mode) || finished) {
        timer_->disarm();
        return;
    }
    const std::uint64_t next = std::max(rising_edges(channel), channel.edges_sent) + 1;
    const std::uint64_t ticks = is_periodic(channel.mode) ? next * channel.reload : channel.reload;
    timer_->arm(channel.started + scale(ticks, nanoseconds_per_second, frequency) + 1);
}

void Pit::on_timer() {
    const std::lock_guard lock(mutex_);
    if (!running_) {
        return;
    }
    Channel& channel = state_.channels[0];
    const std::uint64_t edges = rising_edges(channel);
    if (edges > channel.edges_sent) {
        channel.edges_sent = edges;
        line_.set(true);
        line_.set(false);
    }
    arm_timer();
}

} // namespace croft::vdev
