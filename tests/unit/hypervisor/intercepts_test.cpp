// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/intercepts.hpp"

#include "tests/unit/hypervisor/host_pages.hpp"

#include <gtest/gtest.h>

namespace hypervisor {
namespace {

using Added = Intercepts::Added;
using MsrFate = Intercepts::MsrFate;

constexpr std::uint8_t reads = HV_INTERCEPT_ACCESS_MASK_READ;
constexpr std::uint8_t writes = HV_INTERCEPT_ACCESS_MASK_WRITE;
constexpr std::uint32_t msr = 0x1234;

class InterceptsTest : public testing::Test {
protected:
    void SetUp() override { pages_.add_to(pool_); }
    [[nodiscard]] std::uint64_t used() const {
        return pool_.balance().total - pool_.balance().free;
    }

    HostPages pages_{8};
    PagePool pool_{};
    Intercepts intercepts_{};
};

TEST_F(InterceptsTest, AtFirstThereAreNone) {
    EXPECT_EQ(intercepts_.exceptions(), 0u);
    EXPECT_FALSE(intercepts_.unknown_hypercalls());
    EXPECT_FALSE(intercepts_.any_cpuid());
    EXPECT_FALSE(intercepts_.any_msr());
    EXPECT_FALSE(intercepts_.single_msrs());
    EXPECT_EQ(intercepts_.fate(msr, reads), MsrFate::served);
    EXPECT_FALSE(intercepts_.is_intercepted(msr, reads));
}

TEST_F(InterceptsTest, ExceptionsAreAskedForOneByOne) {
    intercepts_.set_exception(6, true);
    intercepts_.set_exception(14, true);
    EXPECT_EQ(intercepts_.exceptions(), 1u << 6 | 1u << 14);
    intercepts_.set_exception(6, false);
    EXPECT_EQ(intercepts_.exceptions(), 1u << 14);
}

TEST_F(InterceptsTest, LeavesOfCpuidComeAndGo) {
    EXPECT_EQ(intercepts_.set_cpuid(7, true, pool_), Added::yes);
    EXPECT_EQ(intercepts_.set_cpuid(7, true, pool_), Added::yes);
    EXPECT_TRUE(intercepts_.any_cpuid());
    EXPECT_TRUE(intercepts_.is_intercepted(7));
    EXPECT_FALSE(intercepts_.is_intercepted(8));
    EXPECT_EQ(intercepts_.set_cpuid(7, false, pool_), Added::yes);
    EXPECT_FALSE(intercepts_.any_cpuid());
    EXPECT_FALSE(intercepts_.is_intercepted(7));
    EXPECT_EQ(intercepts_.set_cpuid(9, false, pool_), Added::yes) << "that was never there";
    intercepts_.set_all_cpuid(true);
    EXPECT_TRUE(intercepts_.any_cpuid());
    EXPECT_TRUE(intercepts_.is_intercepted(8));
    intercepts_.set_all_cpuid(false);
    EXPECT_FALSE(intercepts_.any_cpuid());
}

TEST_F(InterceptsTest, AnMsrIsInterceptedByItsAccess) {
    ASSERT_EQ(intercepts_.set_msr(msr, writes, pool_), Added::yes);
    EXPECT_TRUE(intercepts_.any_msr());
    EXPECT_TRUE(intercepts_.single_msrs());
    EXPECT_TRUE(intercepts_.is_intercepted(msr, writes));
    EXPECT_FALSE(intercepts_.is_intercepted(msr, reads));
    EXPECT_FALSE(intercepts_.is_intercepted(msr + 1, writes));
    ASSERT_EQ(intercepts_.set_msr(msr, reads, pool_), Added::yes);
    EXPECT_FALSE(intercepts_.is_intercepted(msr, writes)) << "in place of the other";
    ASSERT_EQ(intercepts_.set_msr(msr, 0, pool_), Added::yes);
    EXPECT_FALSE(intercepts_.any_msr());
    EXPECT_FALSE(intercepts_.single_msrs());
}

TEST_F(InterceptsTest, WhatIsDecidedComesBeforeTheInterceptOfAll) {
    intercepts_.set_unknown_msrs(reads | writes);
    EXPECT_EQ(intercepts_.fate(msr, reads), MsrFate::intercepted);
    ASSERT_EQ(intercepts_.decide_msr(msr, reads, true, pool_), Added::yes);
    EXPECT_EQ(intercepts_.fate(msr, reads), MsrFate::fault);
    EXPECT_EQ(intercepts_.fate(msr, writes), MsrFate::intercepted);
    ASSERT_EQ(intercepts_.decide_msr(msr, reads | writes, false, pool_), Added::yes);
    EXPECT_EQ(intercepts_.fate(msr, reads), MsrFate::ignored);
    EXPECT_EQ(intercepts_.fate(msr, writes), MsrFate::ignored);
    EXPECT_TRUE(intercepts_.any_msr());
    EXPECT_FALSE(intercepts_.single_msrs()) << "the processor need not stop for them";
    EXPECT_TRUE(intercepts_.forget_msr(msr, writes));
    EXPECT_FALSE(intercepts_.forget_msr(msr, writes));
    EXPECT_EQ(intercepts_.fate(msr, writes), MsrFate::intercepted);
    EXPECT_EQ(intercepts_.fate(msr, reads), MsrFate::ignored);
    EXPECT_TRUE(intercepts_.forget_msr(msr, reads));
    EXPECT_FALSE(intercepts_.any_msr());
}

TEST_F(InterceptsTest, DecisionsAndInterceptsOfOneMsrAreApart) {
    ASSERT_EQ(intercepts_.decide_msr(msr, reads, true, pool_), Added::yes);
    ASSERT_EQ(intercepts_.set_msr(msr, reads, pool_), Added::yes);
    ASSERT_EQ(intercepts_.set_msr(msr, 0, pool_), Added::yes);
    EXPECT_EQ(intercepts_.fate(msr, reads), MsrFate::fault);
    EXPECT_TRUE(intercepts_.any_msr());
}

TEST_F(InterceptsTest, WithoutMemoryNothingChanges) {
    const Shortage shortage{pool_, 0};
    EXPECT_EQ(intercepts_.set_cpuid(1, true, pool_), Added::no_memory);
    EXPECT_EQ(intercepts_.set_msr(msr, reads, pool_), Added::no_memory);
    EXPECT_EQ(intercepts_.decide_msr(msr, reads, true, pool_), Added::no_memory);
    EXPECT_EQ(intercepts_.set_msr(msr, 0, pool_), Added::yes) << "that needs none";
    EXPECT_FALSE(intercepts_.any_cpuid());
    EXPECT_FALSE(intercepts_.any_msr());
}

TEST_F(InterceptsTest, ListsEndSomewhere) {
    for (unsigned i = 0; i < Intercepts::most; ++i) {
        ASSERT_EQ(intercepts_.set_msr(i, reads, pool_), Added::yes);
    }
    EXPECT_EQ(intercepts_.set_msr(Intercepts::most, reads, pool_), Added::too_many);
    EXPECT_EQ(intercepts_.set_msr(3, writes, pool_), Added::yes) << "one that is there";
    EXPECT_GT(used(), 0u);
    intercepts_.release(pool_);
    EXPECT_EQ(used(), 0u);
    EXPECT_FALSE(intercepts_.any_msr());
    EXPECT_FALSE(intercepts_.single_msrs());
}

} // namespace
} // namespace hypervisor
