// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/extended_state.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/memory/address.hpp"

#include <cstring>

namespace hypervisor::extended_state {

namespace {

constexpr std::uint64_t state_x87 = 1ull << 0;
constexpr std::uint64_t state_sse = 1ull << 1;
constexpr std::uint64_t state_avx = 1ull << 2;
constexpr std::uint64_t state_avx512 = 7ull << 5;
constexpr std::uint64_t known_states = state_x87 | state_sse | state_avx | state_avx512;
constexpr unsigned first_extended = 2;
constexpr unsigned state_count = XsaveLayout::state_count;
constexpr std::uint32_t feature_xsave = 1u << 26;
constexpr std::uint32_t legacy_size = XsaveLayout::legacy_size;
constexpr std::uint32_t header_size = XsaveLayout::header_end - legacy_size;
constexpr std::uint16_t fcw_reset = 0x37f;
constexpr std::uint32_t mxcsr_reset = 0x1f80;
constexpr std::size_t mxcsr_offset = 24;

constinit bool has_xsave = false;
constinit bool has_xsaveopt = false;
constinit bool has_xss = false;
/// XRSTOR and FXRSTOR leave the x87 error pointers as they are where no exception is pending, as
/// processors before Zen do (APM vol. 3, CPUID 8000_0008 EBX, RstrFpErrPtrs): they would be another
/// guest's.
constinit bool leaves_error_pointers = false;
constinit std::uint64_t states = state_x87 | state_sse;
constinit std::uint32_t bytes = legacy_size;
constinit std::uint32_t known_mxcsr = 0;
constinit XsaveLayout the_layout{};

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

void set_xcr0(std::uint64_t value) {
    if (read_xcr0() != value) {
        write_xcr0(value);
    }
}

/// They are the hypervisor's own then.
void overwrite_error_pointers() {
    constexpr std::uint32_t some = 0;
    asm volatile("fnclex\n\temms\n\tfildl %0" : : "m"(some));
}

XsaveLayout::Component component_of(unsigned state) {
    constexpr std::uint32_t is_aligned = 1u << 1;
    const CpuidResult part = cpuid(0xd, state);
    return {.offset = part.ebx, .size = part.eax, .aligned = (part.ecx & is_aligned) != 0};
}

} // namespace

void initialise() {
    constexpr std::uint32_t restores_error_pointers = 1u << 2;
    leaves_error_pointers = (cpuid(0x80000008).ebx & restores_error_pointers) == 0;
    has_xsave = (cpuid(1).ecx & feature_xsave) != 0;
    if (!has_xsave) {
        return;
    }
    const CpuidResult main = cpuid(0xd, 0);
    states = ((std::uint64_t{main.edx} << 32) | main.eax) & known_states;
    for (unsigned state = first_extended; state < state_count; ++state) {
        if ((states & (1ull << state)) == 0) {
            continue;
        }
        const XsaveLayout::Component component = component_of(state);
        the_layout.set(state, component);
        if (component.offset + component.size > page_size) {
            states &= ~(1ull << state);
        }
    }
    bytes = size(states);
    constexpr std::uint32_t feature_xsaveopt = 1u << 0;
    constexpr std::uint32_t feature_xsaves = 1u << 3;
    const std::uint32_t features = cpuid(0xd, 1).eax;
    has_xsaveopt = (features & feature_xsaveopt) != 0;
    has_xss = (features & feature_xsaves) != 0;
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
    return has_xsave ? the_layout.standard_size(of_states) : legacy_size;
}
std::uint32_t compacted_size(std::uint64_t of_states) {
    return the_layout.compacted_size(of_states);
}
void compact(std::uint8_t* area, std::uint64_t of_states, std::span<std::byte> to) {
    if (!has_xsave) {
        mark_in_use(area, states); // FXSAVE marks nothing
    }
    the_layout.compact(std::as_bytes(std::span{area, page_size}), of_states, to);
}
void expand(std::span<const std::byte> from, std::uint8_t* area) {
    the_layout.expand(from, std::as_writable_bytes(std::span{area, size()}));
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

void mark_in_use(std::uint8_t* area, std::uint64_t of_states) {
    std::uint64_t in_use;
    std::memcpy(&in_use, area + legacy_size, sizeof in_use);
    in_use |= of_states;
    std::memcpy(area + legacy_size, &in_use, sizeof in_use);
}

void load(const std::uint8_t* area, std::uint64_t xcr0) {
    if (leaves_error_pointers) {
        overwrite_error_pointers();
    }
    if (!has_xsave) {
        asm volatile("fxrstor64 %0" : : "m"(*area));
        return;
    }
    set_xcr0(states);
    asm volatile("xrstor64 %0"
                 :
                 : "m"(*area), "a"(static_cast<std::uint32_t>(states)),
                 "d"(static_cast<std::uint32_t>(states >> 32))
                 : "memory");
    set_xcr0(xcr0);
}

void save(std::uint8_t* area) {
    if (!has_xsave) {
        asm volatile("fxsave64 %0" : "=m"(*area));
        return;
    }
    set_xcr0(states);
    const auto low = static_cast<std::uint32_t>(states);
    const auto high = static_cast<std::uint32_t>(states >> 32);
    if (!has_xsaveopt) {
        asm volatile("xsave64 %0" : "+m"(*area) : "a"(low), "d"(high) : "memory");
        return;
    }
    asm volatile("xsaveopt64 %0" : "+m"(*area) : "a"(low), "d"(high) : "memory");
    XsaveLayout::settle(std::as_writable_bytes(std::span{area, legacy_size + header_size}));
}

std::uint64_t current_xcr0() {
    return has_xsave ? read_xcr0() : state_x87;
}

std::uint64_t allowed_xcr0() {
    return has_xsave ? states : 0;
}

} // namespace hypervisor::extended_state
