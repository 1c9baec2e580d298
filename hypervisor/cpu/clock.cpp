// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/clock.hpp"

#include "hypervisor/cpu/physical_apic.hpp"

namespace hypervisor::clock {

namespace {

constexpr std::uint64_t hundred_ns_per_second = 10'000'000;

constinit std::uint64_t tsc_hz = 0;
constinit std::uint64_t apic_hz = 0;
constinit std::uint64_t scale = 0;

// 128-bit division without a library: what is divided here is below 2^64 * 2^64 and the quotient
// fits, so the processor's own instruction does it.
std::uint64_t divide(Wide dividend, std::uint64_t divisor) {
    const auto high = static_cast<std::uint64_t>(dividend >> 64);
    if (high >= divisor) {
        return ~std::uint64_t{0};
    }
    std::uint64_t quotient;
    std::uint64_t remainder;
    asm("divq %4"
        : "=a"(quotient), "=d"(remainder)
        : "0"(static_cast<std::uint64_t>(dividend)), "1"(high), "rm"(divisor)
        : "cc");
    return quotient;
}

std::uint64_t scaled(std::uint64_t value, std::uint64_t numerator, std::uint64_t denominator) {
    return divide(Wide{value} * numerator, denominator);
}

constexpr std::uint64_t pit_frequency = 1193182;
constexpr std::uint16_t pit_channel2 = 0x42;
constexpr std::uint16_t pit_command = 0x43;
constexpr std::uint16_t system_control = 0x61;

/// One measurement, and how far off it may be: what passes between a reading and what it is about.
struct Round {
    std::uint64_t tsc_span;
    std::uint32_t apic_span;
    std::uint64_t uncertainty;
};

constexpr std::uint64_t pit_count = pit_frequency / 100; // 10 ms

Round measure() {
    const auto control = static_cast<std::uint8_t>(in8(system_control) & ~3u);
    out8(system_control, control | 1u); // gate open, speaker off
    out8(pit_command, 0xb0);            // channel 2, both bytes, interrupt on terminal count
    out8(pit_channel2, pit_count & 0xff);
    physical_apic::start_timer(~0u);
    const std::uint64_t before = read_tsc();
    out8(pit_channel2, pit_count >> 8); // the count begins
    const std::uint64_t begin = read_tsc();
    const std::uint32_t apic_begin = physical_apic::timer_count();
    const std::uint64_t begun = read_tsc();
    // It has ended at some time since the look before the last began.
    std::uint64_t previous = begun;
    std::uint64_t last = begun;
    while ((in8(system_control) & 0x20) == 0) {
        previous = last;
        last = read_tsc();
    }
    const std::uint64_t end = read_tsc();
    const std::uint32_t apic_span = apic_begin - physical_apic::timer_count();
    const std::uint64_t ended = read_tsc();
    physical_apic::start_timer(0);
    return {end - begin, apic_span, (begun - before) + (ended - previous)};
}

} // namespace

void calibrate() {
    // Where the processor is shared, many measurements are disturbed: one in five is good where
    // five want it. The surest one counts, and one that is sure to 0.2 % is soon good enough.
    constexpr unsigned fewest = 3;
    constexpr unsigned most = 100;
    constexpr std::uint64_t good = 500;
    Round best = measure();
    for (unsigned i = 1; i < fewest || (i < most && best.uncertainty > best.tsc_span / good); ++i) {
        const Round round = measure();
        best = round.uncertainty < best.uncertainty ? round : best;
    }
    tsc_hz = scaled(best.tsc_span, pit_frequency, pit_count);
    apic_hz = scaled(best.apic_span, pit_frequency, pit_count);
    scale = divide(Wide{hundred_ns_per_second} << 64, tsc_hz);
}

std::uint64_t tsc_frequency() {
    return tsc_hz;
}
std::uint64_t apic_frequency() {
    return apic_hz;
}
std::uint64_t reference_scale() {
    return scale;
}

std::uint64_t from_100ns(std::uint64_t units) {
    const std::uint64_t ticks = scaled(units, tsc_hz, hundred_ns_per_second);
    return ticks == ~std::uint64_t{0} ? ticks : ticks + 1;
}

std::uint64_t bus_from_tsc(std::uint64_t tsc_span) {
    return scaled(tsc_span, virtual_apic_frequency, tsc_hz);
}

std::uint64_t tsc_from_bus(std::uint64_t ticks) {
    const std::uint64_t span = scaled(ticks, tsc_hz, virtual_apic_frequency);
    return span == ~std::uint64_t{0} ? span : span + 1;
}

std::uint32_t apic_ticks(std::uint64_t tsc_span) {
    constexpr std::uint64_t longest = 0xffffffff;
    const std::uint64_t ticks = scaled(tsc_span, apic_hz, tsc_hz) + 1;
    return static_cast<std::uint32_t>(ticks < longest ? ticks : longest);
}

void wait_microseconds(std::uint64_t us) {
    const std::uint64_t end = read_tsc() + scaled(us, tsc_hz, 1'000'000);
    while (read_tsc() < end) {
        pause();
    }
}

} // namespace hypervisor::clock
