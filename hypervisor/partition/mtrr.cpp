// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/mtrr.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"

namespace hypervisor {

namespace {

constexpr bool is_memory_type(std::uint64_t type) {
    enum : std::uint8_t {
        uncacheable = 0,
        write_combining = 1,
        write_through = 4,
        write_protected = 5,
        write_back = 6
    };
    return type == uncacheable || type == write_combining || type == write_through ||
        type == write_protected || type == write_back;
}

constexpr bool is_variable(std::uint32_t msr) {
    return msr >= msr_mtrr_phys_base0 && msr <= msr_mtrr_phys_mask7;
}

} // namespace

std::uint64_t* Mtrrs::find(std::uint32_t msr) {
    if (msr == msr_mtrr_def_type) {
        return &def_type;
    }
    if (is_variable(msr)) {
        return &variable[msr - msr_mtrr_phys_base0];
    }
    if (msr == msr_mtrr_fix64k) {
        return &fixed[0];
    }
    if (msr == msr_mtrr_fix16k_80000 || msr == msr_mtrr_fix16k_a0000) {
        return &fixed[1 + (msr - msr_mtrr_fix16k_80000)];
    }
    if (msr >= msr_mtrr_fix4k_c0000 && msr <= msr_mtrr_fix4k_f8000) {
        return &fixed[3 + (msr - msr_mtrr_fix4k_c0000)];
    }
    return nullptr;
}

bool is_valid_mtrr(std::uint32_t msr, std::uint64_t value, unsigned physical_bits) {
    constexpr std::uint64_t type_mask = 0xff;
    constexpr std::uint64_t enables = 3u << 10;
    constexpr std::uint64_t valid = 1u << 11;
    const std::uint64_t address = ((std::uint64_t{1} << physical_bits) - 1) & ~0xfffull;
    if (msr == msr_mtrr_def_type) {
        return (value & ~(type_mask | enables)) == 0 && is_memory_type(value & type_mask);
    }
    if (is_variable(msr)) {
        const bool is_mask = ((msr - msr_mtrr_phys_base0) & 1) != 0;
        return is_mask ? (value & ~(address | valid)) == 0
                       : (value & ~(address | type_mask)) == 0 && is_memory_type(value & type_mask);
    }
    for (unsigned i = 0; i < 8; ++i) {
        if (!is_memory_type((value >> (8 * i)) & type_mask)) {
            return false;
        }
    }
    return true;
}

} // namespace hypervisor
