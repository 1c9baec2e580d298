// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/mtrr.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"

#include <gtest/gtest.h>
#include <set>

namespace hypervisor {

namespace {

constexpr unsigned physical_bits = 40;
constexpr std::uint64_t last_page = 0xff'ffff'f000;

bool is_valid(std::uint32_t msr, std::uint64_t value) {
    return is_valid_mtrr(msr, value, physical_bits);
}

TEST(Mtrr, EachIsKeptInAPlaceOfItsOwn) {
    Mtrrs mtrrs;
    std::set<std::uint64_t*> places;
    for (std::uint32_t msr = 0; msr < 0x1000; ++msr) {
        if (std::uint64_t* const place = mtrrs.find(msr); place != nullptr) {
            EXPECT_TRUE(places.insert(place).second) << msr;
        }
    }
    EXPECT_EQ(places.size(), 1u + 16 + 11);
    EXPECT_EQ(mtrrs.find(msr_mtrr_cap), nullptr);
    EXPECT_EQ(mtrrs.find(msr_pat), nullptr);
}

TEST(Mtrr, DefaultTypeHasATypeAndTwoEnables) {
    EXPECT_TRUE(is_valid(msr_mtrr_def_type, 0xc06));
    EXPECT_TRUE(is_valid(msr_mtrr_def_type, 0));
    EXPECT_FALSE(is_valid(msr_mtrr_def_type, 2));
    EXPECT_FALSE(is_valid(msr_mtrr_def_type, 0x107));
    EXPECT_FALSE(is_valid(msr_mtrr_def_type, 0x206));
    EXPECT_FALSE(is_valid(msr_mtrr_def_type, 0x1006));
}

TEST(Mtrr, ABaseIsAPageAndAType) {
    EXPECT_TRUE(is_valid(msr_mtrr_phys_base0, last_page | 6));
    EXPECT_FALSE(is_valid(msr_mtrr_phys_base0, last_page | 7));
    EXPECT_FALSE(is_valid(msr_mtrr_phys_base0 + 2, 0x100));
    EXPECT_FALSE(is_valid(msr_mtrr_phys_base0 + 2, std::uint64_t{1} << physical_bits));
}

TEST(Mtrr, AMaskIsAPageAndAnEnable) {
    EXPECT_TRUE(is_valid(msr_mtrr_phys_mask7, last_page | 0x800));
    EXPECT_FALSE(is_valid(msr_mtrr_phys_mask7, last_page | 0x400));
    EXPECT_FALSE(is_valid(msr_mtrr_phys_mask7, 6));
    EXPECT_FALSE(is_valid(msr_mtrr_phys_mask7, std::uint64_t{1} << physical_bits));
}

TEST(Mtrr, AFixedOneIsEightTypes) {
    for (const std::uint32_t msr : {msr_mtrr_fix64k, msr_mtrr_fix16k_a0000, msr_mtrr_fix4k_f8000}) {
        EXPECT_TRUE(is_valid(msr, 0x0605'0401'0006'0606));
        EXPECT_FALSE(is_valid(msr, 0x0205'0401'0006'0606));
        EXPECT_FALSE(is_valid(msr, 0x0605'0401'0006'061e));
    }
}

} // namespace

} // namespace hypervisor
