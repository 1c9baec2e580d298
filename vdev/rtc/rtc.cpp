// SPDX-License-Identifier: Apache-2.0
#include "vdev/rtc/rtc.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace croft::vdev {

namespace {

// Addresses and bits (MC146818 data sheet, figures 9 to 15).
enum Index : std::uint8_t {
    seconds = 0,
    seconds_alarm = 1,
    minutes = 2,
    minutes_alarm = 3,
    hours = 4,
    hours_alarm = 5,
    day_of_week = 6,
    day_of_month = 7,
    month = 8,
    year = 9,
    register_a = 10,
    register_b = 11,
    register_c = 12,
    register_d = 13,
};

constexpr std::uint8_t a_update_in_progress = 0x80;
constexpr std::uint8_t a_divider = 0x20;
constexpr std::uint8_t a_divider_mask = 0x70;
constexpr std::uint8_t a_rate_mask = 0x0f;
constexpr std::uint8_t a_rate_1024_hertz = 0x06;

constexpr std::uint8_t b_set = 0x80;
constexpr std::uint8_t b_binary = 0x04;
constexpr std::uint8_t b_24_hours = 0x02;

/// The same bits: enabled in register B, flag in register C.
constexpr std::uint8_t periodic = 0x40;
constexpr std::uint8_t alarm = 0x20;
constexpr std::uint8_t update_ended = 0x10;
constexpr std::uint8_t interrupts = periodic | alarm | update_ended;
constexpr std::uint8_t c_any = 0x80;

constexpr std::uint8_t d_valid = 0x80;
constexpr std::uint8_t hour_afternoon = 0x80;
constexpr std::uint8_t alarm_any = 0xc0;

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t seconds_per_day = 86'400;
/// Register A announces an update this long before it.
constexpr std::int64_t update_notice = 244'000;

constexpr std::int64_t floor_divide(std::int64_t value, std::int64_t divisor) {
    return value / divisor - (value % divisor < 0 ? 1 : 0);
}

constexpr bool is_time(std::uint8_t index) {
    return index == Index::seconds || index == Index::minutes || index == Index::hours ||
        (index >= Index::day_of_week && index <= Index::year) || index == Rtc::century_index;
}

} // namespace

void Rtc::configure(Platform& platform) {
    Claim ports = platform.bus.claim_ports(name(), port, 2, 1, *this);
    line_ = platform.bus.claim_line(name(), line);
    ports_ = std::move(ports);
    clock_ = &platform.clock;
    timer_ = platform.timers.create_timer([this] { on_timer(); });
    reset();
}

void Rtc::start() {
    const std::lock_guard lock(mutex_);
    running_ = true;
    arm_timer();
}

void Rtc::stop() {
    const std::lock_guard lock(mutex_);
    running_ = false;
    timer_->disarm();
}

Record Rtc::save() const {
    const std::lock_guard lock(mutex_);
    return state_.save();
}

void Rtc::restore(const Record& record) {
    const RtcState loaded = RtcState::load(record);
    const std::lock_guard lock(mutex_);
    state_ = loaded;
    // What the time between saving and restoring would have raised isn't made up for.
    state_.computed_until = guest_time();
    line_.assume((state_.memory[Index::register_c] & c_any) != 0);
}

void Rtc::reset() {
    const std::lock_guard lock(mutex_);
    // A reset leaves time and memory, which have a battery, and clears the interrupts.
    auto& memory = state_.memory;
    if (memory[Index::register_d] == 0) {
        memory[Index::register_a] = a_divider | a_rate_1024_hertz;
        memory[Index::register_b] = b_24_hours;
        memory[Index::register_d] = d_valid;
    }
    memory[Index::register_b] &= static_cast<std::uint8_t>(~interrupts);
    memory[Index::register_c] = 0;
    state_.index = 0;
    state_.computed_until = guest_time();
    update_line();
}

void Rtc::remove() {
    timer_.reset();
    ports_.release();
    line_ = {};
}

std::int64_t Rtc::guest_time() const {
    return clock_->wall() + state_.offset * second;
}

bool Rtc::is_setting() const {
    return (state_.memory[Index::register_b] & b_set) != 0;
}

std::uint32_t Rtc::port_read(std::uint16_t at, unsigned /*size*/) {
    const std::lock_guard lock(mutex_);
    // The index port can't be read back on a PC.
    return at == port ? 0xff : read(state_.index);
}

void Rtc::port_write(std::uint16_t at, unsigned /*size*/, std::uint32_t value) {
    const std::lock_guard lock(mutex_);
    if (at == port) {
        // Bit 7 masks NMIs, of which there are none.
        state_.index = value & (RtcState::memory_size - 1);
        return;
    }
    write(state_.index, static_cast<std::uint8_t>(value));
}

std::uint8_t Rtc::read(std::uint8_t index) {
    auto& memory = state_.memory;
    if (is_time(index) && !is_setting()) {
        show_time();
    }
    if (index == Index::register_a) {
        const std::int64_t now = guest_time();
        const std::int64_t into_second = now - floor_divide(now, second) * second;
        const bool updating = !is_setting() && into_second >= second - update_notice;
        return static_cast<std::uint8_t>(memory[index] | (updating ? a_update_in_progress : 0));
    }
    if (index == Index::register_c) {
        compute_flags();
        const std::uint8_t flags = std::exchange(memory[index], std::uint8_t{0});
        update_line();
        arm_timer();
        return flags;
    }
    return memory[index];
}

void Rtc::write(std::uint8_t index, std::uint8_t value) {
    auto& memory = state_.memory;
    switch (index) {
    case Index::register_a:
        compute_flags();
        memory[index] = value & (a_divider_mask | a_rate_mask);
        break;
    case Index::register_b: {
        compute_flags();
        const bool was_setting = is_setting();
        if (!was_setting && (value & b_set) != 0) {
            show_time();
        }
        memory[index] = value;
        if (was_setting && !is_setting()) {
            take_time();
        }
        break;
    }
    case Index::register_c:
    case Index::register_d:
        return; // read only
    default:
        if (is_time(index) && !is_setting()) {
            show_time();
            memory[index] = value;
            take_time();
        } else {
            memory[index] = value;
        }
        break;
    }
    update_line();
    arm_timer();
}

std::uint8_t Rtc::encode(unsigned value) const {
    const bool binary = (state_.memory[Index::register_b] & b_binary) != 0;
    return static_cast<std::uint8_t>(binary ? value : (value / 10) * 16 + value % 10);
}

unsigned Rtc::decode(std::uint8_t value) const {
    const bool binary = (state_.memory[Index::register_b] & b_binary) != 0;
    return binary ? value : (value >> 4) * 10U + (value & 0x0fU);
}

std::uint8_t Rtc::encode_hour(unsigned hour) const {
    if ((state_.memory[Index::register_b] & b_24_hours) != 0) {
        return encode(hour);
    }
    const unsigned shown = hour % 12 == 0 ? 12 : hour % 12;
    return static_cast<std::uint8_t>(encode(shown) | (hour >= 12 ? hour_afternoon : 0));
}

unsigned Rtc::decode_hour(std::uint8_t value) const {
    if ((state_.memory[Index::register_b] & b_24_hours) != 0) {
        return decode(value);
    }
    const unsigned shown = decode(static_cast<std::uint8_t>(value & ~hour_afternoon)) % 12;
    return shown + ((value & hour_afternoon) != 0 ? 12 : 0);
}

void Rtc::show_time() {
    const std::int64_t total = floor_divide(guest_time(), second);
    const std::int64_t days = floor_divide(total, seconds_per_day);
    const auto of_day = static_cast<unsigned>(total - days * seconds_per_day);
    const std::chrono::sys_days date{std::chrono::days(days)};
    const std::chrono::year_month_day parts(date);
    const auto shown_year = static_cast<unsigned>(static_cast<int>(parts.year()));

    auto& memory = state_.memory;
    memory[Index::seconds] = encode(of_day % 60);
    memory[Index::minutes] = encode(of_day / 60 % 60);
    memory[Index::hours] = encode_hour(of_day / 3600);
    memory[Index::day_of_week] = encode(std::chrono::weekday(date).c_encoding() + 1);
    memory[Index::day_of_month] = encode(static_cast<unsigned>(parts.day()));
    memory[Index::month] = encode(static_cast<unsigned>(parts.month()));
    memory[Index::year] = encode(shown_year % 100);
    memory[century_index] = encode(shown_year / 100 % 100);
}

void Rtc::take_time() {
    const auto& memory = state_.memory;
    const auto full_year =
        static_cast<int>(decode(memory[century_index]) * 100 + decode(memory[Index::year]));
    const std::chrono::year_month_day date{std::chrono::year(full_year),
        std::chrono::month(decode(memory[Index::month])),
        std::chrono::day(decode(memory[Index::day_of_month]))};
    if (!date.ok()) {
        return; // shown as written until it makes a date
    }
    const std::int64_t of_day = std::int64_t{decode_hour(memory[Index::hours])} * 3600 +
        std::int64_t{decode(memory[Index::minutes])} * 60 + decode(memory[Index::seconds]);
    const std::int64_t wanted =
        std::chrono::sys_days(date).time_since_epoch().count() * seconds_per_day + of_day;
    state_.offset = wanted - floor_divide(clock_->wall(), second);
    state_.computed_until = guest_time();
}

std::int64_t Rtc::period() const {
    const unsigned rate = state_.memory[Index::register_a] & a_rate_mask;
    if (rate == 0 || (state_.memory[Index::register_a] & a_divider_mask) != a_divider) {
        return 0;
    }
    // Of the 32.768 kHz crystal; the two fastest rates are the same as rates 8 and 9.
    const unsigned shift = rate < 3 ? rate + 6 : rate - 1;
    return (second << shift) / 32'768;
}

bool Rtc::alarm_between(std::int64_t first_second, std::int64_t last_second) const {
    const auto& memory = state_.memory;
    const auto matches = [](std::uint8_t wanted, unsigned wanted_value, std::int64_t value) {
        return (wanted & alarm_any) == alarm_any || std::int64_t{wanted_value} == value;
    };
    const std::uint8_t hour = memory[Index::hours_alarm];
    // An alarm comes at least once a day, so no more than a day has to be searched.
    const std::int64_t last = std::min(last_second, first_second + seconds_per_day);
    for (std::int64_t at = first_second; at <= last; ++at) {
        const std::int64_t of_day = at - floor_divide(at, seconds_per_day) * seconds_per_day;
        if (matches(
                memory[Index::seconds_alarm], decode(memory[Index::seconds_alarm]), of_day % 60) &&
            matches(memory[Index::minutes_alarm], decode(memory[Index::minutes_alarm]),
                of_day / 60 % 60) &&
            matches(hour, decode_hour(hour), of_day / 3600)) {
            return true;
        }
    }
    return false;
}

void Rtc::compute_flags() {
    const std::int64_t now = guest_time();
    const std::int64_t before = std::exchange(state_.computed_until, now);
    if (now <= before) {
        return;
    }
    std::uint8_t& flags = state_.memory[Index::register_c];
    const std::int64_t step = period();
    if (step != 0 && floor_divide(now, step) != floor_divide(before, step)) {
        flags |= periodic;
    }
    const std::int64_t first = floor_divide(before, second) + 1;
    const std::int64_t last = floor_divide(now, second);
    if (first <= last && !is_setting()) {
        flags |= update_ended;
        if ((flags & alarm) == 0 && alarm_between(first, last)) {
            flags |= alarm;
        }
    }
}

void Rtc::update_line() {
    auto& memory = state_.memory;
    const bool wanted = (memory[Index::register_c] & memory[Index::register_b] & interrupts) != 0;
    std::uint8_t& flags = memory[Index::register_c];
    flags = static_cast<std::uint8_t>(wanted ? flags | c_any : flags & ~c_any);
    line_.set(wanted);
}

void Rtc::arm_timer() {
    const std::uint8_t enabled = state_.memory[Index::register_b] & interrupts;
    if (!running_ || enabled == 0) {
        timer_->disarm();
        return;
    }
    const std::int64_t now = guest_time();
    std::int64_t next = (floor_divide(now, second) + 1) * second;
    const std::int64_t step = period();
    if ((enabled & periodic) != 0 && step != 0) {
        next = std::min(next, (floor_divide(now, step) + 1) * step);
    }
    timer_->arm(clock_->now() + static_cast<std::uint64_t>(next - now));
}

void Rtc::on_timer() {
    const std::lock_guard lock(mutex_);
    if (!running_) {
        return;
    }
    compute_flags();
    update_line();
    arm_timer();
}

} // namespace croft::vdev
