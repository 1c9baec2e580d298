// SPDX-License-Identifier: Apache-2.0
// The tables of registers, MSRs and properties. What their rows do is tested by guests.
#include "hypervisor/cpu/virtual_cpu.hpp"
#include "hypervisor/hypercall/property_table.hpp"
#include "hypervisor/partition/msr.hpp"
#include "hypervisor/partition/registers.hpp"

#include <gtest/gtest.h>
#include <map>
#include <set>

namespace hypervisor {
namespace {

template <class Rows>
void add_all(std::set<std::uint32_t>& numbers, const Rows& rows) {
    for (const auto& row : rows) {
        ASSERT_LE(row.first, row.last) << row.name;
        for (std::uint32_t number = row.first; number <= row.last; ++number) {
            EXPECT_TRUE(numbers.insert(number).second) << row.name << " has one twice";
        }
    }
}

TEST(Tables, HaveEachRegisterOnce) {
    std::set<std::uint32_t> numbers;
    add_all(numbers, placed_registers);
    add_all(numbers, own_registers);
}

TEST(Tables, HaveEachPropertyOnce) {
    std::set<std::uint32_t> numbers;
    add_all(numbers, hypercall::properties);
    add_all(numbers, hypercall::ex_properties);
}

TEST(Tables, HaveEachMsrOfAChildOnce) {
    std::set<std::uint32_t> numbers;
    add_all(numbers, synthetic_msrs);
    add_all(numbers, msrs_of_all);
    add_all(numbers, msrs_of_child);
    for (const MsrRange& own : own_msrs) {
        EXPECT_TRUE(numbers.contains(own.first) && numbers.contains(own.last));
    }
}

TEST(Tables, HaveSyntheticMsrsInAscendingOrder) {
    std::uint32_t last = synthetic_msr_first - 1;
    for (const MsrRow& row : synthetic_msrs) {
        EXPECT_GT(row.first, last) << row.name;
        EXPECT_EQ(row.privilege & (row.privilege - 1), 0u) << "one privilege, or none";
        last = row.last;
    }
    EXPECT_LE(last, synthetic_msr_last);
}

/// Side by side in the interface are some that are so in the processor's interface, too.
TEST(Tables, HaveRegistersWhereTheyAre) {
    const std::map<std::uint32_t, CpuRegister> expected{{HV_X64_REGISTER_RIP, CpuRegister::rip},
        {HV_X64_REGISTER_RFLAGS, CpuRegister::rflags}, {HV_X64_REGISTER_CR0, CpuRegister::cr0},
        {HV_X64_REGISTER_CR2, CpuRegister::cr2}, {HV_X64_REGISTER_CR3, CpuRegister::cr3},
        {HV_X64_REGISTER_CR4, CpuRegister::cr4},
        {HV_X64_REGISTER_INTERMEDIATE_CR0, CpuRegister::cr0},
        {HV_X64_REGISTER_INTERMEDIATE_CR3, CpuRegister::cr3},
        {HV_X64_REGISTER_INTERMEDIATE_CR4, CpuRegister::cr4},
        {HV_X64_REGISTER_EFER, CpuRegister::efer}, {HV_X64_REGISTER_XFEM, CpuRegister::xcr0},
        {HV_X64_REGISTER_DR0, CpuRegister::dr0}, {HV_X64_REGISTER_DR1, CpuRegister::dr1},
        {HV_X64_REGISTER_DR2, CpuRegister::dr2}, {HV_X64_REGISTER_DR3, CpuRegister::dr3},
        {HV_X64_REGISTER_DR6, CpuRegister::dr6}, {HV_X64_REGISTER_DR7, CpuRegister::dr7},
        {HV_X64_REGISTER_PAT, CpuRegister::pat}, {HV_X64_REGISTER_STAR, CpuRegister::star},
        {HV_X64_REGISTER_LSTAR, CpuRegister::lstar}, {HV_X64_REGISTER_CSTAR, CpuRegister::cstar},
        {HV_X64_REGISTER_SFMASK, CpuRegister::sfmask},
        {HV_X64_REGISTER_KERNEL_GS_BASE, CpuRegister::kernel_gs_base},
        {HV_X64_REGISTER_SYSENTER_CS, CpuRegister::sysenter_cs},
        {HV_X64_REGISTER_SYSENTER_ESP, CpuRegister::sysenter_esp},
        {HV_X64_REGISTER_SYSENTER_EIP, CpuRegister::sysenter_eip},
        {HV_X64_REGISTER_TSC_AUX, CpuRegister::tsc_aux}, {HV_X64_REGISTER_XSS, CpuRegister::xss},
        {HV_X64_REGISTER_DEBUG_CTL, CpuRegister::debugctl}};
    std::map<std::uint32_t, CpuRegister> found;
    for (const PlacedRegister& row : placed_registers) {
        for (std::uint32_t i = 0; row.way == RegisterWay::cpu && i <= row.last - row.first; ++i) {
            found[row.first + i] = static_cast<CpuRegister>(row.place + i);
        }
    }
    EXPECT_EQ(found, expected);
}

} // namespace
} // namespace hypervisor
