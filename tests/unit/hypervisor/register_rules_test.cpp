// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/register_rules.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"

#include <array>
#include <cstring>
#include <gtest/gtest.h>

namespace hypervisor {
namespace {

constexpr std::uint64_t hole = 0x0000'8000'0000'0000; // the first address that is not canonical

constexpr RegisterRules rules{.physical_bits = 40,
    .cr4_allowed = 0x7ff,
    .efer_allowed = efer_sce | efer_lme | efer_lma | efer_nxe,
    .xcr0_allowed = 7};

TEST(RegisterRules, TakeWhatAGuestMayHave) {
    EXPECT_TRUE(rules.allow(CpuRegister::cr0, cr0_cd | cr0_nw | cr0_et));
    EXPECT_TRUE(rules.allow(CpuRegister::cr0, cr0_pe | cr0_pg | cr0_wp | cr0_ne | cr0_et));
    EXPECT_TRUE(rules.allow(CpuRegister::cr3, (1ull << 40) - 1));
    EXPECT_TRUE(rules.allow(CpuRegister::cr4, cr4_pae | cr4_osfxsr | cr4_osxmmexcpt));
    EXPECT_TRUE(rules.allow(CpuRegister::efer, efer_lme | efer_lma | efer_nxe | efer_sce));
    EXPECT_TRUE(rules.allow(CpuRegister::rflags, rflags_fixed | rflags_if | rflags_tf));
    EXPECT_TRUE(rules.allow(CpuRegister::dr6, 0xffff0ff0));
    EXPECT_TRUE(rules.allow(CpuRegister::dr7, 0x400));
    EXPECT_TRUE(rules.allow(CpuRegister::pat, pat_reset_value));
    EXPECT_TRUE(rules.allow(CpuRegister::lstar, 0xffff'ffff'8100'0000));
    EXPECT_TRUE(rules.allow(CpuRegister::xcr0, 7));
    EXPECT_TRUE(rules.allow(CpuRegister::xss, 0));
    EXPECT_TRUE(rules.allow(CpuRegister::tsc_aux, 0xffffffff));
    EXPECT_TRUE(rules.allow(CpuRegister::rip, hole)) << "a fault in the guest";
}

TEST(RegisterRules, RefuseWhatTheProcessorRefuses) {
    EXPECT_FALSE(rules.allow(CpuRegister::cr0, 1ull << 32));
    EXPECT_FALSE(rules.allow(CpuRegister::cr0, cr0_nw));
    EXPECT_FALSE(rules.allow(CpuRegister::cr0, cr0_pg));
    EXPECT_FALSE(rules.allow(CpuRegister::cr3, 1ull << 40));
    EXPECT_FALSE(rules.allow(CpuRegister::cr3, 1ull << 63));
    EXPECT_FALSE(rules.allow(CpuRegister::cr4, cr4_osxsave));
    EXPECT_FALSE(rules.allow(CpuRegister::efer, efer_svme));
    EXPECT_FALSE(rules.allow(CpuRegister::efer, 1ull << 20));
    EXPECT_FALSE(rules.allow(CpuRegister::rflags, 1ull << 63));
    EXPECT_FALSE(rules.allow(CpuRegister::rflags, 1ull << 15));
    EXPECT_FALSE(rules.allow(CpuRegister::dr6, 1ull << 32));
    EXPECT_FALSE(rules.allow(CpuRegister::dr7, 1ull << 63));
    EXPECT_FALSE(rules.allow(CpuRegister::tsc_aux, 1ull << 32));
    EXPECT_FALSE(rules.allow(CpuRegister::xss, 1ull << 11));
    EXPECT_FALSE(rules.allow(CpuRegister::xss, ~0ull));
    for (const CpuRegister r : {CpuRegister::lstar, CpuRegister::cstar, CpuRegister::kernel_gs_base,
             CpuRegister::sysenter_esp, CpuRegister::sysenter_eip}) {
        EXPECT_FALSE(rules.allow(r, hole));
        EXPECT_FALSE(rules.allow(r, ~hole));
        EXPECT_TRUE(rules.allow(r, hole - 1));
        EXPECT_TRUE(rules.allow(r, ~(hole - 1)));
    }
    EXPECT_FALSE(rules.allow(CpuRegister::count, 0));
}

TEST(RegisterRules, OfMemoryTypes) {
    EXPECT_TRUE(is_valid_pat(0x0001'0405'0607'0000));
    for (const std::uint64_t type : {2ull, 3ull, 8ull, 0x86ull}) {
        for (unsigned i = 0; i < 8; ++i) {
            EXPECT_FALSE(is_valid_pat(type << (8 * i)));
        }
    }
}

TEST(RegisterRules, OfExtendedStates) {
    constexpr std::uint64_t avx512 = 0xe0;
    EXPECT_TRUE(is_valid_xcr0(1, 7));
    EXPECT_TRUE(is_valid_xcr0(7 | avx512, 7 | avx512));
    EXPECT_FALSE(is_valid_xcr0(0, 7)) << "x87 is always on";
    EXPECT_FALSE(is_valid_xcr0(5, 7)) << "AVX without SSE";
    EXPECT_FALSE(is_valid_xcr0(7 | 0x20, 7 | avx512)) << "a part of AVX-512";
    EXPECT_FALSE(is_valid_xcr0(3 | avx512, 7 | avx512)) << "AVX-512 without AVX";
    EXPECT_FALSE(is_valid_xcr0(7, 3));
    EXPECT_FALSE(is_valid_xcr0(1, 0)) << "no XSAVE";
}

TEST(RegisterRules, OfSegmentsAndTables) {
    hv_x64_segment_register segment{};
    hv_x64_table_register table{};
    segment.base = table.base = hole - 1;
    EXPECT_TRUE(is_valid_segment(segment));
    EXPECT_TRUE(is_valid_table(table));
    segment.base = table.base = hole;
    EXPECT_FALSE(is_valid_segment(segment));
    EXPECT_FALSE(is_valid_table(table));
}

TEST(RegisterRules, OfEvents) {
    EXPECT_TRUE(is_valid_event({.type = CpuEvent::Type::exception, .vector = 31}));
    EXPECT_FALSE(is_valid_event({.type = CpuEvent::Type::exception, .vector = 32}));
    EXPECT_FALSE(is_valid_event({.type = CpuEvent::Type::exception, .vector = exception_nmi}));
    EXPECT_TRUE(is_valid_event({.type = CpuEvent::Type::interrupt, .vector = 255}));
    EXPECT_TRUE(is_valid_event({.type = CpuEvent::Type::software_interrupt, .vector = 255}));
    constexpr auto soft = CpuEvent::Type::software_exception;
    EXPECT_TRUE(is_valid_event({.type = soft, .vector = 3}));
    EXPECT_TRUE(is_valid_event({.type = soft, .vector = 4}));
    EXPECT_FALSE(is_valid_event({.type = soft, .vector = 5}));
    EXPECT_FALSE(is_valid_event({.type = soft, .vector = 3, .has_error_code = true}));
    constexpr auto privileged = CpuEvent::Type::privileged_software_exception;
    EXPECT_TRUE(is_valid_event({.type = privileged, .vector = 1}));
    EXPECT_FALSE(is_valid_event({.type = privileged, .vector = 3}));
}

class ExtendedStateRules : public testing::Test {
protected:
    void set(std::size_t offset, std::uint64_t value) {
        std::memcpy(area_.data() + offset, &value, sizeof value);
    }
    void set_mxcsr(std::uint32_t value) { std::memcpy(area_.data() + 24, &value, sizeof value); }
    [[nodiscard]] bool valid() const { return is_valid_extended_state(area_, 7, 0x2ffff); }

    std::array<std::byte, 832> area_{};
};

TEST_F(ExtendedStateRules, TakeWhatTheProcessorLoads) {
    EXPECT_TRUE(valid());
    set_mxcsr(0x2ffff);
    set(512, 7);
    EXPECT_TRUE(valid());
}

TEST_F(ExtendedStateRules, RefuseBitsOfMxcsrThatThereAreNot) {
    for (unsigned bit = 0; bit < 32; ++bit) {
        set_mxcsr(1u << bit);
        EXPECT_EQ(valid(), ((0x2ffffu >> bit) & 1) != 0) << bit;
    }
}

TEST_F(ExtendedStateRules, RefuseAHeaderThatFaults) {
    set(512, 8);
    EXPECT_FALSE(valid()) << "a state that there is not";
    for (unsigned word = 1; word < 8; ++word) {
        area_ = {};
        set(512 + 8 * word, 1);
        EXPECT_FALSE(valid()) << word;
    }
}

TEST(ExtendedState, WithoutXsaveHasNoHeader) {
    std::array<std::byte, 512> area{};
    EXPECT_TRUE(is_valid_extended_state(area, 3, 0xffbf));
    area[24] = std::byte{0x40};
    EXPECT_FALSE(is_valid_extended_state(area, 3, 0xffbf)) << "denormals-are-zeros";
}

} // namespace
} // namespace hypervisor
