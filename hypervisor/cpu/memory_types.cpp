// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/memory_types.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/intrinsics.hpp"

#include <array>

namespace hypervisor::memory_types {

namespace {

constexpr unsigned most_variable = 16;
constexpr std::array<std::uint32_t, 11> fixed_msrs = {msr_mtrr_fix64k, msr_mtrr_fix16k_80000,
    msr_mtrr_fix16k_a0000, msr_mtrr_fix4k_c0000, msr_mtrr_fix4k_c0000 + 1, msr_mtrr_fix4k_c0000 + 2,
    msr_mtrr_fix4k_c0000 + 3, msr_mtrr_fix4k_c0000 + 4, msr_mtrr_fix4k_c0000 + 5,
    msr_mtrr_fix4k_c0000 + 6, msr_mtrr_fix4k_f8000};
constexpr std::uint64_t mtrr_enable = 1ull << 11;

struct Ranges {
    unsigned variable_count = 0;
    bool has_fixed = false;
    std::uint64_t def_type = 0;
    std::array<std::uint64_t, 2 * most_variable> variable{};
    std::array<std::uint64_t, fixed_msrs.size()> fixed{};
};
constinit Ranges ranges{};

} // namespace

void remember() {
    const std::uint64_t capabilities = read_msr(msr_mtrr_cap);
    const auto count = static_cast<unsigned>(capabilities & 0xff);
    ranges.variable_count = count < most_variable ? count : most_variable;
    ranges.has_fixed = (capabilities & (1u << 8)) != 0;
    ranges.def_type = read_msr(msr_mtrr_def_type);
    for (unsigned i = 0; i < 2 * ranges.variable_count; ++i) {
        ranges.variable[i] = read_msr(msr_mtrr_phys_base0 + i);
    }
    for (unsigned i = 0; ranges.has_fixed && i < fixed_msrs.size(); ++i) {
        ranges.fixed[i] = read_msr(fixed_msrs[i]);
    }
}

void apply() {
    const std::uint64_t cr0 = read_cr0();
    write_cr0((cr0 | cr0_cd) & ~cr0_nw);
    asm volatile("wbinvd" : : : "memory");
    write_cr3(read_cr3());
    write_msr(msr_mtrr_def_type, ranges.def_type & ~mtrr_enable);
    for (unsigned i = 0; i < 2 * ranges.variable_count; ++i) {
        write_msr(msr_mtrr_phys_base0 + i, ranges.variable[i]);
    }
    for (unsigned i = 0; ranges.has_fixed && i < fixed_msrs.size(); ++i) {
        write_msr(fixed_msrs[i], ranges.fixed[i]);
    }
    write_msr(msr_mtrr_def_type, ranges.def_type);
    asm volatile("wbinvd" : : : "memory");
    write_cr3(read_cr3());
    write_cr0(cr0);
}

} // namespace hypervisor::memory_types
