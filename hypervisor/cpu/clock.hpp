// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/intrinsics.hpp"

#include <cstdint>

namespace hypervisor::clock {

/// Measures the time-stamp counter and the APIC timer against the PIT, whose rate is known.
/// Takes some 50 ms. The APIC is enabled.
void calibrate();

/// Ticks of the time-stamp counter per second.
std::uint64_t tsc_frequency();
/// Ticks of the physical APIC timer per second.
std::uint64_t apic_frequency();

/// The clock that divides into the virtual APIC timers' counts, the same on every machine: ticks
/// per second. HV_X64_MSR_APIC_FREQUENCY says so to guests.
inline constexpr std::uint64_t virtual_apic_frequency = 200'000'000;

/// ((tsc * scale) >> 64) is time in 100 ns, as on the reference TSC page (TLFS "Timers").
std::uint64_t reference_scale();

/// Twice the processor's word, for products of two of them.
__extension__ using Wide = unsigned __int128;

constexpr std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
    return static_cast<std::uint64_t>((static_cast<Wide>(a) * b) >> 64);
}

/// 100 ns units of a span of the time-stamp counter.
inline std::uint64_t to_100ns(std::uint64_t tsc_span) {
    return multiply_high(tsc_span, reference_scale());
}
/// Ticks of the time-stamp counter in a span of 100 ns units, rounded up; saturates.
std::uint64_t from_100ns(std::uint64_t units);
/// Between the virtual APIC timer's bus clock and the time-stamp counter.
std::uint64_t bus_from_tsc(std::uint64_t tsc_span);
std::uint64_t tsc_from_bus(std::uint64_t ticks);
/// The count with which the physical APIC timer ends `tsc_span` from now; at least 1.
std::uint32_t apic_ticks(std::uint64_t tsc_span);

/// Busy waiting, for the start of other processors.
void wait_microseconds(std::uint64_t us);

} // namespace hypervisor::clock
