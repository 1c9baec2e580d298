// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/extended_state.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/memory/address.hpp"

#include <algorithm>
#include <cstring>

namespace hypervisor::extended_state {

namespace {

constexpr std::uint64_t state_x87 = 1ull << 0;
constexpr std::uint64_t state_sse = 1ull << 1;
constexpr std::uint64_t state_avx = 1ull << 2;
constexpr std::uint64_t state_avx512 = 7ull << 5;
constexpr std::uint64_t known_states = state_x87 | state_sse | state_avx | state_avx512;
constexpr unsigned first_extended = 2;
constexpr unsigned state_count = 63;
constexpr std::uint32_t feature_xsave = 1u << 26;
constexpr std::uint32_t legacy_size = 512;
constexpr std::uint32_t header_end = 576;
constexpr std::uint16_t fcw_reset = 0x37f;
constexpr std::uint32_t mxcsr_reset = 0x1f80;
constexpr std::size_t mxcsr_offset = 24;

constinit bool has_xsave = false;
constinit bool has_xss = false;
constinit std::uint64_t states = state_x87 | state_sse;
constinit std::uint32_t bytes = legacy_size;
constinit std::uint32_t known_mxcsr = 0;

std::uint32_t read_mxcsr_mask() {
    constexpr std::size_t mask_offset = 28;
    constexpr std::uint32_t oldest = 0xffbf; // of processors that leave the field empty
    struct alignas(16) {
        std::uint8_t bytes[legacy_size];
    } area{};
    asm volatile("fxsave64 %0" : "=m"(area));
    std::uint32_t mask;
    std::memcpy(&mask, area.bytes + mask_offset, sizeof mask);
    return mask != 0 ? mask : oldest;
}

/// Where a state ends in the standard layout.
std::uint32_t end_of(unsigned state) {
    const CpuidResult part = cpuid(0xd, state);
    return part.ebx + part.eax;
}

} // namespace

void initialise() {
    has_xsave = (cpuid(1).ecx & feature_xsave) != 0;
    if (!has_xsave) {
        return;
    }
    const CpuidResult main = cpuid(0xd, 0);
    states = ((std::uint64_t{main.edx} << 32) | main.eax) & known_states;
    for (unsigned state = first_extended; state < state_count; ++state) {
        if ((states & (1ull << state)) != 0 && end_of(state) > page_size) {
            states &= ~(1ull << state);
        }
    }
    bytes = size(states);
    constexpr std::uint32_t feature_xsaves = 1u << 3;
    has_xss = (cpuid(0xd, 1).eax & feature_xsaves) != 0;
}

void enable() {
    write_cr0((read_cr0() | cr0_mp | cr0_ne) & ~(1ull << 2) & ~(1ull << 3)); // no EM, no TS
    write_cr4(read_cr4() | cr4_osfxsr | cr4_osxmmexcpt | (has_xsave ? cr4_osxsave : 0));
    known_mxcsr = read_mxcsr_mask();
}

std::uint64_t supported() {
    return states;
}
std::uint32_t size() {
    return bytes;
}
std::uint32_t size(std::uint64_t of_states) {
    if (!has_xsave) {
        return legacy_size;
    }
    std::uint32_t result = header_end;
    for (unsigned state = first_extended; state < state_count; ++state) {
        if ((of_states & (1ull << state)) != 0) {
            result = std::max(result, end_of(state));
        }
    }
    return result;
}
std::uint32_t mxcsr_mask() {
    return known_mxcsr;
}
bool has_supervisor_states() {
    return has_xss;
}

void reset(std::uint8_t* area) {
    std::memset(area, 0, page_size);
    std::memcpy(area, &fcw_reset, sizeof fcw_reset);
    std::memcpy(area + mxcsr_offset, &mxcsr_reset, sizeof mxcsr_reset);
}

void load(const std::uint8_t* area, std::uint64_t xcr0) {
    if (!has_xsave) {
        asm volatile("fxrstor64 %0" : : "m"(*area));
        return;
    }
    write_xcr0(states);
    asm volatile("xrstor64 %0"
                 :
                 : "m"(*area), "a"(static_cast<std::uint32_t>(states)),
                 "d"(static_cast<std::uint32_t>(states >> 32))
                 : "memory");
    write_xcr0(xcr0);
}

void save(std::uint8_t* area) {
    if (!has_xsave) {
        asm volatile("fxsave64 %0" : "=m"(*area));
        return;
    }
    write_xcr0(states);
    asm volatile(
        "xsave64 %0"
        : "+m"(*area)
        : "a"(static_cast<std::uint32_t>(states)), "d"(static_cast<std::uint32_t>(states >> 32))
        : "memory");
}

std::uint64_t current_xcr0() {
    return has_xsave ? read_xcr0() : state_x87;
}

std::uint64_t allowed_xcr0() {
    return has_xsave ? states : 0;
}

} // namespace hypervisor::extended_state
