// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/cpuid_overrides.hpp"

#include "hypervisor/partition/cpuid_cache.hpp"
#include "tests/unit/hypervisor/host_pages.hpp"

#include <gtest/gtest.h>

namespace hypervisor {

namespace {

constexpr CpuidResult all{~0u, ~0u, ~0u, ~0u};
constexpr CpuidResult own{0x10, 0x20, 0x30, 0x40};

class CpuidOverridesTest : public testing::Test {
protected:
    CpuidOverridesTest() { pages_.add_to(pool_); }
    ~CpuidOverridesTest() override { overrides_.release(pool_); }

    void add(const CpuidOverride& one) {
        EXPECT_EQ(overrides_.add(one, pool_), CpuidOverrides::Added::yes);
    }
    CpuidResult apply(std::uint32_t leaf, std::uint32_t subleaf = 0, CpuidResult to = own) {
        CpuidResult result = to;
        overrides_.apply(leaf, subleaf, to, result);
        return result;
    }

    HostPages pages_{2};
    PagePool pool_;
    CpuidOverrides overrides_;
};

TEST_F(CpuidOverridesTest, OnlyTheBitsOfTheMaskAreTheParents) {
    add({.leaf = 1, .value = {0xff, 0xff, 0, ~0u}, .mask = {0x0f, 0, 0x10, 0x80}});
    EXPECT_EQ(apply(1), (CpuidResult{0x1f, 0x20, 0x20, 0xc0}));
    EXPECT_EQ(apply(2), own);
}

TEST_F(CpuidOverridesTest, OneForAllSubleavesIsForEach) {
    add({.leaf = 0xb, .value = {1, 2, 3, 4}, .mask = all});
    EXPECT_EQ(apply(0xb, 0), (CpuidResult{1, 2, 3, 4}));
    EXPECT_EQ(apply(0xb, 7), (CpuidResult{1, 2, 3, 4}));
}

TEST_F(CpuidOverridesTest, OneOfASubleafComesAfter) {
    add({.leaf = 0xb,
        .subleaf = 1,
        .value = {5, 0, 0, 0},
        .mask = {~0u, 0, 0, 0},
        .subleaf_specific = true});
    add({.leaf = 0xb, .value = {1, 2, 3, 4}, .mask = all});
    EXPECT_EQ(apply(0xb, 0), (CpuidResult{1, 2, 3, 4}));
    EXPECT_EQ(apply(0xb, 1), (CpuidResult{5, 2, 3, 4}));
}

TEST_F(CpuidOverridesTest, WhereThereIsNoAnswerOnlyThoseThatAreAlwaysGiven) {
    add({.leaf = 0x12, .value = {1, 1, 1, 1}, .mask = all});
    add({.leaf = 0x13, .value = {1, 1, 1, 1}, .mask = all, .always = true});
    EXPECT_EQ(apply(0x12, 0, {}), CpuidResult{});
    EXPECT_EQ(apply(0x13, 0, {}), (CpuidResult{1, 1, 1, 1}));
}

TEST_F(CpuidOverridesTest, ALaterOneTakesTheEarliersPlace) {
    for (unsigned i = 0; i < 2 * CpuidOverrides::most; ++i) {
        add({.leaf = 1, .value = {i, 0, 0, 0}, .mask = all});
    }
    EXPECT_EQ(apply(1).eax, 2 * CpuidOverrides::most - 1);
    EXPECT_EQ(pool_.balance().free, 1u);
}

TEST_F(CpuidOverridesTest, OneThatIsTakenAwayLeavesTheOthers) {
    add({.leaf = 1, .value = {1, 1, 1, 1}, .mask = all});
    add({.leaf = 1, .subleaf = 2, .value = {2, 2, 2, 2}, .mask = all, .subleaf_specific = true});
    EXPECT_FALSE(overrides_.remove({.leaf = 2}));
    EXPECT_FALSE(overrides_.remove({.leaf = 1, .subleaf = 3, .subleaf_specific = true}));
    EXPECT_TRUE(overrides_.remove({.leaf = 1}));
    EXPECT_FALSE(overrides_.remove({.leaf = 1}));
    EXPECT_EQ(apply(1), own);
    EXPECT_EQ(apply(1, 2), (CpuidResult{2, 2, 2, 2}));
    EXPECT_TRUE(overrides_.remove({.leaf = 1, .subleaf = 2, .subleaf_specific = true}));
    EXPECT_EQ(apply(1, 2), own);
}

TEST_F(CpuidOverridesTest, PagesThatAreUsedUpAreTold) {
    unsigned added = 0;
    while (overrides_.add({.leaf = added}, pool_) == CpuidOverrides::Added::yes) {
        ++added;
    }
    EXPECT_EQ(overrides_.add({.leaf = added}, pool_), CpuidOverrides::Added::no_memory);
    EXPECT_GT(added, 100u);
    overrides_.release(pool_);
    EXPECT_EQ(pool_.balance().free, 2u);
    EXPECT_EQ(apply(1), own);
}

TEST(CpuidCache, KnowsWhatItIsTold) {
    CpuidCache cache;
    EXPECT_EQ(cache.find(0, 0, 1), nullptr);
    cache.remember(1, 0, 1, own);
    ASSERT_NE(cache.find(1, 0, 1), nullptr);
    EXPECT_EQ(*cache.find(1, 0, 1), own);
    EXPECT_EQ(cache.find(1, 1, 1), nullptr);
    EXPECT_EQ(cache.find(0x80000001, 0, 1), nullptr);
    EXPECT_EQ(cache.find(1, 0, 2), nullptr) << "what answers depend on has changed";
}

TEST(CpuidCache, HasRoomForTheLeavesInUse) {
    CpuidCache cache;
    for (std::uint32_t leaf = 0; leaf < 16; ++leaf) {
        for (const std::uint32_t range : {0u, 0x40000000u, 0x80000000u}) {
            cache.remember(range + leaf, 0, 1, {range, leaf, 0, 0});
        }
    }
    for (std::uint32_t leaf = 0; leaf < 16; ++leaf) {
        for (const std::uint32_t range : {0u, 0x40000000u, 0x80000000u}) {
            ASSERT_NE(cache.find(range + leaf, 0, 1), nullptr) << range << " " << leaf;
        }
    }
}

} // namespace

} // namespace hypervisor
