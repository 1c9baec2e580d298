// SPDX-License-Identifier: Apache-2.0
// 1 GiB as one entry: made of 512 pages of 2 MiB, and split again by whatever differs.
#include "hypervisor/memory/slat.hpp"

#include "tests/unit/hypervisor/host_pages.hpp"

#include <gtest/gtest.h>
#include <vector>

namespace hypervisor {
namespace {

constexpr std::uint32_t rwx = HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE;
constexpr std::uint32_t rx = HV_MAP_GPA_READABLE | HV_MAP_GPA_EXECUTABLE;
constexpr std::uint64_t huge = pages_per_huge_page;
constexpr std::uint64_t large = pages_per_large_page;
constexpr unsigned parts = huge / large;

class HugeSlatTest : public testing::Test {
protected:
    /// Of memory the second GiB, at the third of the guest's.
    static constexpr std::uint64_t spa = huge;
    static constexpr std::uint64_t gpa = 2 * huge;

    void SetUp() override {
        records_.initialise(storage_.data(), 2 * huge);
        for (std::uint64_t i = 0; i < 2 * huge; ++i) {
            records_.assign(SpaPage{i}, PageKind::root);
        }
        pages_.add_to(pool_);
        ASSERT_TRUE(slat_.create());
        slat_.allow_huge();
    }
    void flush() { released_.release(records_, pool_); }
    [[nodiscard]] std::uint64_t tables() const {
        return pool_.balance().total - pool_.balance().free;
    }
    void map_part(std::uint64_t i, std::uint32_t flags = rwx) {
        ASSERT_EQ(
            slat_.map_large(GpaPage{gpa + i * large}, SpaPage{spa + i * large}, flags, released_),
            Status::success);
        if (!released_.has_room()) {
            flush();
        }
    }
    void map_all() {
        for (unsigned i = 0; i < parts; ++i) {
            map_part(i);
        }
        flush();
        ASSERT_EQ(slat_.mapped_huge(), 1u);
    }
    [[nodiscard]] bool is_held(std::uint64_t page) {
        if (records_.try_take(SpaPage{page}, 1)) {
            records_.give_back(SpaPage{page});
            return false;
        }
        return true;
    }
    void expect_all_mapped(std::uint64_t but = ~std::uint64_t{0}) {
        for (std::uint64_t i = 0; i < huge; i += 97) {
            if (i == but) {
                continue;
            }
            const auto mapping = slat_.lookup(GpaPage{gpa + i});
            ASSERT_EQ(mapping.access, Slat::Access::mapped) << i;
            ASSERT_EQ(mapping.page, SpaPage{spa + i});
            ASSERT_EQ(mapping.map_flags, rwx);
        }
    }

    HostPages pages_{64};
    PagePool pool_{};
    std::vector<std::uint64_t> storage_ =
        std::vector<std::uint64_t>(PageRecords::bytes_for(2 * huge) / 8 + 1);
    PageRecords records_{};
    Slat slat_{records_, pool_, true};
    ReleaseList released_{};
};

TEST_F(HugeSlatTest, TheLastOf512PagesMakesOneOfThem) {
    for (unsigned i = 1; i < parts; ++i) {
        map_part(i);
    }
    EXPECT_EQ(slat_.mapped_large(), parts - 1);
    const std::uint64_t before = tables();
    map_part(0);
    EXPECT_EQ(slat_.mapped_large(), 0u);
    EXPECT_EQ(slat_.mapped_huge(), 1u);
    EXPECT_EQ(slat_.recombined(), 1u);
    EXPECT_EQ(slat_.mapped_pages(), huge);
    EXPECT_EQ(tables(), before) << "it may still be in a TLB";
    flush();
    EXPECT_EQ(tables(), before - 1);
    expect_all_mapped();
    EXPECT_TRUE(is_held(spa + huge - 1));
}

TEST_F(HugeSlatTest, WhatDiffersStaysApart) {
    for (unsigned i = 0; i + 1 < parts; ++i) {
        map_part(i);
    }
    map_part(parts - 1, rx);
    EXPECT_EQ(slat_.mapped_huge(), 0u);
    EXPECT_EQ(slat_.lookup(GpaPage{gpa + huge - 1}).map_flags, rx);
    map_part(parts - 1);
    EXPECT_EQ(slat_.mapped_huge(), 1u) << "once it is alike, too";
}

TEST_F(HugeSlatTest, MemoryThatIsNotInOnePieceStaysApart) {
    for (unsigned i = 0; i < parts; ++i) {
        ASSERT_EQ(slat_.map_large(
                      GpaPage{gpa + i * large}, SpaPage{spa - large + i * large}, rwx, released_),
            Status::success);
    }
    EXPECT_EQ(slat_.mapped_huge(), 0u);
    EXPECT_EQ(slat_.mapped_large(), parts);
}

TEST_F(HugeSlatTest, WhoHasNotAskedKeepsThePages) {
    Slat plain{records_, pool_, true};
    ASSERT_TRUE(plain.create());
    for (unsigned i = 0; i < parts; ++i) {
        ASSERT_EQ(
            plain.map_large(GpaPage{gpa + i * large}, SpaPage{spa + i * large}, rwx, released_),
            Status::success);
    }
    EXPECT_EQ(plain.mapped_huge(), 0u);
    plain.destroy();
}

TEST_F(HugeSlatTest, AHoleSplitsItDownToItsSize) {
    map_all();
    ASSERT_EQ(slat_.unmap_large(GpaPage{gpa + 5 * large}, released_), Status::success);
    EXPECT_EQ(slat_.mapped_huge(), 0u);
    EXPECT_EQ(slat_.mapped_large(), parts - 1);
    EXPECT_EQ(slat_.shattered(), 1u);
    EXPECT_TRUE(is_held(spa + 5 * large)) << "before the flush";
    flush();
    EXPECT_FALSE(is_held(spa + 5 * large));
    EXPECT_TRUE(is_held(spa + 4 * large));
    EXPECT_EQ(slat_.lookup(GpaPage{gpa + 5 * large}).access, Slat::Access::unmapped);

    map_part(5);
    flush();
    EXPECT_EQ(slat_.mapped_huge(), 1u);
    ASSERT_EQ(slat_.unmap(GpaPage{gpa + 97}, released_), Status::success);
    flush();
    EXPECT_EQ(slat_.shattered(), 3u) << "the whole, and one of its parts";
    EXPECT_EQ(slat_.recombined(), 2u);
    EXPECT_EQ(slat_.mapped_pages(), huge - 1);
    EXPECT_EQ(slat_.lookup(GpaPage{gpa + 97}).access, Slat::Access::unmapped);
    expect_all_mapped(97);
    EXPECT_FALSE(is_held(spa + 97));
    EXPECT_TRUE(is_held(spa + 96));
}

TEST_F(HugeSlatTest, WithoutAPageItStaysWhole) {
    map_all();
    const Shortage shortage{pool_, 0};
    EXPECT_EQ(slat_.unmap_large(GpaPage{gpa}, released_), Status::insufficient_memory);
    EXPECT_EQ(slat_.map(GpaPage{gpa}, SpaPage{0}, rx, released_), Status::insufficient_memory);
    EXPECT_EQ(slat_.track_pages(true), Status::insufficient_memory);
    EXPECT_EQ(slat_.mapped_huge(), 1u);
    expect_all_mapped();
}

TEST_F(HugeSlatTest, ItHasOneStateUntilEachPageIsTracked) {
    map_all();
    bool changed = false;
    EXPECT_EQ(slat_.access_state(GpaPage{gpa + 1}, HV_GPA_ACCESS_CLEAR_DIRTY, changed),
        HV_GPA_PAGE_ACCESSED | HV_GPA_PAGE_DIRTY)
        << "what was noted on the way is not known";
    EXPECT_FALSE(changed) << "its last page has not been asked";
    EXPECT_NE(slat_.access_state(GpaPage{gpa + huge - 1}, HV_GPA_ACCESS_CLEAR_DIRTY, changed), 0);
    EXPECT_TRUE(changed);
    EXPECT_EQ(slat_.access_state(GpaPage{gpa}, 0, changed), HV_GPA_PAGE_ACCESSED);
    slat_.note_written(GpaPage{gpa + 7});
    EXPECT_NE(slat_.access_state(GpaPage{gpa}, 0, changed) & HV_GPA_PAGE_DIRTY, 0);
}

TEST_F(HugeSlatTest, TrackingSplitsItToPages) {
    HostPages more{parts + 2};
    more.add_to(pool_);
    map_all();
    ASSERT_EQ(slat_.track_pages(true), Status::success);
    EXPECT_EQ(slat_.mapped_huge(), 0u);
    EXPECT_EQ(slat_.mapped_large(), 0u);
    EXPECT_EQ(slat_.shattered(), 1 + parts);
    EXPECT_EQ(slat_.mapped_pages(), huge);
    expect_all_mapped();
    EXPECT_FALSE(slat_.lookup(GpaPage{gpa}).large);
    slat_.destroy();
    EXPECT_EQ(tables(), 0u);
}

TEST_F(HugeSlatTest, DestroyingLetsAllOfItGo) {
    map_all();
    slat_.destroy();
    EXPECT_EQ(tables(), 0u);
    for (std::uint64_t i = 0; i < huge; i += large) {
        ASSERT_FALSE(is_held(spa + i)) << i;
    }
}

} // namespace
} // namespace hypervisor
