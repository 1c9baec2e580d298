// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/memory/root_pages.hpp"

#include "tests/unit/hypervisor/host_pages.hpp"
#include "tests/unit/hypervisor/low_memory.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <set>
#include <vector>

namespace hypervisor {
namespace {

/// A root with 8 MiB of real memory, mapped in pages of 2 MiB as the root's is.
class RootPagesTest : public testing::Test {
protected:
    static constexpr std::uint16_t owner = 7;
    static constexpr unsigned count = 3 * 512;
    static constexpr std::uint8_t secret = 0x5a;

    void SetUp() override {
        const std::uint64_t pages = memory_.end() / page_size + 1;
        storage_.resize(PageRecords::bytes_for(pages) / 8 + 1);
        records_.initialise(storage_.data(), pages);
        tables_memory_.add_to(tables_);
        ASSERT_TRUE(root_.create());
        first_ = (memory_.address() / page_size + 511) / 512 * 512;
        std::memset(memory_.bytes(), secret, memory_.size());
        ReleaseList released;
        for (unsigned i = 0; i < count; ++i) {
            records_.assign(page(i), PageKind::root);
        }
        for (unsigned i = 0; i < count; i += 512) {
            ASSERT_EQ(root_.map_large(GpaPage{page(i).number()}, page(i), all, released),
                Status::success);
        }
    }

    [[nodiscard]] SpaPage page(unsigned i) const { return SpaPage{first_ + i}; }
    [[nodiscard]] bool is_readable(unsigned i) const {
        const auto mapping = root_.lookup(GpaPage{page(i).number()});
        return mapping.access == Slat::Access::mapped && mapping.page == page(i);
    }
    [[nodiscard]] bool is_filled(unsigned i, std::uint8_t with) const {
        const auto* const at = pointer_to<std::uint8_t>(page(i));
        return std::all_of(at, at + page_size, [with](std::uint8_t byte) { return byte == with; });
    }
    /// A page that the root reads is the root's, and the other way round.
    void expect_taken(const std::set<unsigned>& taken) {
        for (unsigned i = 0; i < count; ++i) {
            ASSERT_EQ(is_readable(i), !taken.contains(i)) << i;
            ASSERT_EQ(
                records_.kind(page(i)), taken.contains(i) ? PageKind::deposited : PageKind::root)
                << i;
        }
    }
    [[nodiscard]] bool take_all(const std::vector<unsigned>& which) {
        return desk_.take_all(
            static_cast<unsigned>(which.size()), [&](unsigned i) { return page(which[i]); }, owner);
    }

    static constexpr std::uint32_t all =
        HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE;
    LowMemory memory_{8u << 20};
    HostPages tables_memory_{64};
    PagePool tables_{};
    std::vector<std::uint64_t> storage_{};
    PageRecords records_{};
    Slat root_{records_, tables_, false};
    SpinLock lock_{};
    RootPages desk_{records_, root_, lock_};
    std::uint64_t first_ = 0;
};

TEST_F(RootPagesTest, APageThatIsTakenIsNotReadableAnyMore) {
    ASSERT_TRUE(desk_.take(page(5), owner));
    expect_taken({5});
    EXPECT_EQ(records_.owner(page(5)), owner);
    EXPECT_FALSE(records_.try_reference(page(5))) << "no child may map it";
    EXPECT_FALSE(desk_.take(page(5), owner)) << "it is taken already";
    expect_taken({5});
}

TEST_F(RootPagesTest, APageComesBackEmpty) {
    ASSERT_TRUE(desk_.take(page(600), owner));
    desk_.give_back(page(600));
    expect_taken({});
    EXPECT_TRUE(is_filled(600, 0));
    EXPECT_TRUE(is_filled(599, secret));
    EXPECT_TRUE(is_filled(601, secret));
}

TEST_F(RootPagesTest, AllAreTakenOrNone) {
    ASSERT_TRUE(take_all({1, 513, 2}));
    expect_taken({1, 2, 513});
    EXPECT_FALSE(take_all({3, 4, 513})) << "the last is taken";
    EXPECT_FALSE(take_all({3, 4, 3})) << "one page twice";
    expect_taken({1, 2, 513});
    EXPECT_TRUE(is_filled(3, secret)) << "what was not taken keeps what it holds";
    EXPECT_TRUE(take_all({}));
}

TEST_F(RootPagesTest, WhatIsInUseIsNotTaken) {
    ASSERT_TRUE(records_.try_reference(page(9)));
    EXPECT_FALSE(take_all({8, 9, 10}));
    records_.release(page(9));
    ASSERT_TRUE(records_.try_reference_large(page(512)));
    EXPECT_FALSE(take_all({8, 700}));
    records_.release_large(page(512));
    expect_taken({});
    EXPECT_FALSE(desk_.take(SpaPage{1}, owner)) << "it is no memory of the root's";
    EXPECT_FALSE(desk_.take(SpaPage{~0ull >> 12}, owner)) << "it is none at all";
    EXPECT_TRUE(take_all({8, 9, 10, 700}));
}

TEST_F(RootPagesTest, WithoutATableForTheRestNothingIsTaken) {
    const Shortage shortage{tables_, 1};
    EXPECT_FALSE(take_all({5, 600})) << "each is in 2 MiB of its own";
    expect_taken({});
    EXPECT_TRUE(take_all({5, 6}));
}

TEST_F(RootPagesTest, MapAndRecordsAgreeWhateverHappens) {
    std::mt19937 random{11};
    std::set<unsigned> taken;
    for (unsigned round = 0; round < 200; ++round) {
        std::vector<unsigned> which(random() % 8);
        std::generate(which.begin(), which.end(), [&random] { return random() % count; });
        const std::set<unsigned> different{which.begin(), which.end()};
        const bool possible = different.size() == which.size() &&
            std::none_of(which.begin(), which.end(), [&](unsigned i) { return taken.contains(i); });
        ASSERT_EQ(take_all(which), possible);
        if (possible) {
            taken.insert(which.begin(), which.end());
        }
        while (!taken.empty() && random() % 3 == 0) {
            const unsigned one = *taken.begin();
            desk_.give_back(page(one));
            ASSERT_TRUE(is_filled(one, 0));
            taken.erase(one);
        }
        expect_taken(taken);
    }
}

} // namespace
} // namespace hypervisor
