// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/register_rules.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace hypervisor {

namespace {

constexpr std::uint64_t upper_half = ~std::uint64_t{0} << 32;
constexpr std::uint64_t rflags_allowed = 0x3f7fd7;

constexpr std::uint64_t bit_if(bool present, unsigned bit) {
    return present ? std::uint64_t{1} << bit : 0;
}
constexpr bool has(std::uint32_t features, unsigned bit) {
    return ((features >> bit) & 1) != 0;
}

std::uint64_t cr4_of_this_machine() {
    constexpr std::uint64_t every_long_mode_processor = 0x7ff; // VME … OSXMMEXCPT
    const CpuidResult basic = cpuid(1);
    const CpuidResult more = cpuid(0).eax >= 7 ? cpuid(7) : CpuidResult{};
    return every_long_mode_processor | bit_if(has(more.ecx, 2), 11) | // UMIP
        bit_if(has(more.ecx, 16), 12) |                               // LA57
        bit_if(has(more.ebx, 0), 16) |                                // FSGSBASE
        bit_if(has(basic.ecx, 17), 17) |                              // PCIDE
        bit_if(has(basic.ecx, 26), 18) |                              // OSXSAVE
        bit_if(has(more.ebx, 7), 20) |                                // SMEP
        bit_if(has(more.ebx, 20), 21) |                               // SMAP
        bit_if(has(more.ecx, 3), 22) |                                // PKE
        bit_if(has(more.ecx, 7) || has(more.edx, 20), 23);            // CET
}

std::uint64_t efer_of_this_machine() {
    const CpuidResult extended = cpuid(0x80000001);
    return efer_sce | efer_lme | efer_lma | (has(extended.edx, 20) ? efer_nxe : 0) |
        (has(extended.edx, 25) ? efer_ffxsr : 0) | (has(extended.ecx, 17) ? efer_tce : 0);
}

unsigned physical_bits_of_this_machine() {
    return cpuid(0x80000000).eax >= 0x80000008 ? cpuid(0x80000008).eax & 0xff : 36;
}

bool is_valid_cr0(std::uint64_t value) {
    const bool not_write_through = (value & cr0_nw) != 0 && (value & cr0_cd) == 0;
    const bool pages_without_protection = (value & cr0_pg) != 0 && (value & cr0_pe) == 0;
    return (value & upper_half) == 0 && !not_write_through && !pages_without_protection;
}

constinit RegisterRules the_rules{};

} // namespace

const RegisterRules& register_rules() {
    return the_rules;
}
void set_register_rules(const RegisterRules& rules) {
    the_rules = rules;
}

RegisterRules RegisterRules::of_this_machine(std::uint64_t xcr0_allowed) {
    return {.physical_bits = physical_bits_of_this_machine(),
        .cr4_allowed = cr4_of_this_machine(),
        .efer_allowed = efer_of_this_machine(),
        .xcr0_allowed = xcr0_allowed};
}

bool RegisterRules::allow(CpuRegister which, std::uint64_t value) const {
    switch (which) {
    case CpuRegister::rflags:
        return (value & ~rflags_allowed) == 0;
    case CpuRegister::cr0:
        return is_valid_cr0(value);
    case CpuRegister::cr3:
        return (value >> physical_bits) == 0;
    case CpuRegister::cr4:
        return (value & ~cr4_allowed) == 0;
    case CpuRegister::efer:
        return (value & ~efer_allowed) == 0;
    case CpuRegister::dr6:
    case CpuRegister::dr7:
    case CpuRegister::tsc_aux:
        return (value & upper_half) == 0;
    case CpuRegister::pat:
        return is_valid_pat(value);
    case CpuRegister::lstar:
    case CpuRegister::cstar:
    case CpuRegister::kernel_gs_base:
    case CpuRegister::sysenter_esp:
    case CpuRegister::sysenter_eip:
        return is_canonical(value);
    case CpuRegister::xss:
    case CpuRegister::debugctl:
        return value == 0; // no supervisor states, no branch records
    case CpuRegister::xcr0:
        return is_valid_xcr0(value, xcr0_allowed);
    case CpuRegister::rip: // one that is not canonical is the guest's own fault, in the guest
    case CpuRegister::cr2:
    case CpuRegister::dr0:
    case CpuRegister::dr1:
    case CpuRegister::dr2:
    case CpuRegister::dr3:
    case CpuRegister::star:
    case CpuRegister::sfmask:
    case CpuRegister::sysenter_cs:
        return true;
    case CpuRegister::count:
        break;
    }
    return false;
}

bool is_valid_segment(const hv_x64_segment_register& value) {
    return is_canonical(value.base);
}

bool is_valid_table(const hv_x64_table_register& value) {
    return is_canonical(value.base);
}

bool is_valid_xcr0(std::uint64_t value, std::uint64_t allowed) {
    constexpr std::uint64_t x87 = 1ull << 0;
    constexpr std::uint64_t sse = 1ull << 1;
    constexpr std::uint64_t avx = 1ull << 2;
    constexpr std::uint64_t avx512 = 7ull << 5;
    const bool some_avx512 = (value & avx512) != 0;
    return (value & ~allowed) == 0 && (value & x87) != 0 &&
        ((value & avx) == 0 || (value & sse) != 0) &&
        (!some_avx512 || ((value & avx512) == avx512 && (value & avx) != 0));
}

bool is_valid_pat(std::uint64_t value) {
    for (unsigned i = 0; i < 8; ++i) {
        const std::uint64_t type = (value >> (8 * i)) & 0xff;
        if (type > 7 || type == 2 || type == 3) {
            return false;
        }
    }
    return true;
}

bool is_valid_extended_state(
    std::span<const std::byte> area, std::uint64_t states, std::uint32_t mxcsr_mask) {
    constexpr std::size_t mxcsr_offset = 24;
    constexpr std::size_t header = 512;
    constexpr std::size_t header_size = 64;
    std::uint32_t mxcsr;
    std::memcpy(&mxcsr, area.data() + mxcsr_offset, sizeof mxcsr);
    if (!is_valid_mxcsr(mxcsr, mxcsr_mask)) {
        return false;
    }
    if (area.size() < header + header_size) {
        return true;
    }
    constexpr std::uint64_t compacted = std::uint64_t{1} << 63;
    std::array<std::uint64_t, header_size / sizeof(std::uint64_t)> words;
    std::memcpy(words.data(), area.data() + header, header_size);
    const auto [in_use, format] = std::pair{words[0], words[1]};
    const bool is_format = format == 0 ||
        ((format & compacted) != 0 && ((format & ~compacted) & ~states) == 0 &&
            (in_use & ~format) == 0);
    return (in_use & ~states) == 0 && is_format &&
        std::all_of(words.begin() + 2, words.end(), [](std::uint64_t word) { return word == 0; });
}

bool is_valid_event(const CpuEvent& event) {
    switch (event.type) {
    case CpuEvent::Type::exception:
        return event.vector <= exception_last && event.vector != exception_nmi;
    case CpuEvent::Type::privileged_software_exception:
        return event.vector == exception_debug && !event.has_error_code;
    case CpuEvent::Type::software_exception:
        return (event.vector == exception_breakpoint || event.vector == exception_overflow) &&
            !event.has_error_code;
    case CpuEvent::Type::interrupt:
    case CpuEvent::Type::nmi:
    case CpuEvent::Type::software_interrupt:
        break;
    }
    return true;
}

} // namespace hypervisor
