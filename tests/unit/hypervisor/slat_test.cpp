// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/memory/slat.hpp"

#include "tests/unit/hypervisor/guest_memory_model.hpp"
#include "tests/unit/hypervisor/host_pages.hpp"

#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace hypervisor {
namespace {

constexpr std::uint32_t rwx = HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE;
constexpr std::uint32_t rx = HV_MAP_GPA_READABLE | HV_MAP_GPA_EXECUTABLE;

class SlatTest : public testing::Test {
protected:
    void SetUp() override {
        pages_.add_to(pool_);
        ASSERT_TRUE(slat_.create());
    }
    void flush() { released_.release(machine_.records, pool_); }
    [[nodiscard]] std::uint64_t tables() const {
        return pool_.balance().total - pool_.balance().free;
    }
    [[nodiscard]] bool is_held(std::uint64_t spa) {
        if (machine_.records.try_take(SpaPage{spa}, 1)) {
            machine_.records.give_back(SpaPage{spa});
            return false;
        }
        return true;
    }

    HostPages pages_{64};
    PagePool pool_{};
    Machine machine_{};
    Slat slat_{machine_.records, pool_, true};
    ReleaseList released_{};
};

TEST_F(SlatTest, NothingIsMappedAtFirst) {
    for (const std::uint64_t gpa :
        {0ull, 511ull, 1ull << 20, (1ull << 36) - 1, 1ull << 36, ~0ull >> 12}) {
        EXPECT_EQ(slat_.lookup(GpaPage{gpa}).access, Slat::Access::unmapped);
        bool changed = false;
        EXPECT_EQ(slat_.access_state(GpaPage{gpa & ((1ull << 36) - 1)}, 0, changed), 0);
        EXPECT_FALSE(changed);
    }
    EXPECT_EQ(slat_.mapped_pages(), 0u);
    EXPECT_EQ(tables(), 1u);
    // What isn't mapped is unmapped at no cost.
    EXPECT_EQ(slat_.unmap(GpaPage{5}, released_), Status::success);
    EXPECT_EQ(slat_.unmap_large(GpaPage{512}, released_), Status::success);
    EXPECT_EQ(tables(), 1u);
    EXPECT_TRUE(released_.empty());
}

TEST_F(SlatTest, ASpaceThatIsNotThereHasNoPagesAndTakesNone) {
    slat_.destroy();
    bool changed = false;
    EXPECT_EQ(slat_.access_state(GpaPage{5}, HV_GPA_ACCESS_CLEAR_DIRTY, changed), 0);
    EXPECT_FALSE(changed);
    EXPECT_EQ(slat_.lookup(GpaPage{5}).access, Slat::Access::unmapped);
    EXPECT_EQ(slat_.map(GpaPage{5}, SpaPage{7}, rx, released_), Status::insufficient_memory);
    EXPECT_EQ(
        slat_.map_large(GpaPage{0}, SpaPage{512}, rx, released_), Status::insufficient_memory);
    EXPECT_EQ(slat_.map_no_access(GpaPage{5}, released_), Status::insufficient_memory);
    EXPECT_EQ(slat_.unmap(GpaPage{5}, released_), Status::success);
    EXPECT_EQ(slat_.unmap_large(GpaPage{0}, released_), Status::success);
    EXPECT_FALSE(slat_.prepare(GpaPage{5}));
    EXPECT_EQ(tables(), 0u);
    EXPECT_FALSE(is_held(7));
    EXPECT_FALSE(is_held(512));
}

TEST_F(SlatTest, MapsAPage) {
    ASSERT_EQ(slat_.map(GpaPage{0x1234}, SpaPage{77}, rx, released_), Status::success);
    const auto mapping = slat_.lookup(GpaPage{0x1234});
    EXPECT_EQ(mapping.access, Slat::Access::mapped);
    EXPECT_FALSE(mapping.large);
    EXPECT_EQ(mapping.map_flags, rx);
    EXPECT_EQ(mapping.page, SpaPage{77});
    EXPECT_EQ(slat_.lookup(GpaPage{0x1233}).access, Slat::Access::unmapped);
    EXPECT_EQ(slat_.lookup(GpaPage{0x1235}).access, Slat::Access::unmapped);
    EXPECT_EQ(slat_.mapped_pages(), 1u);
    EXPECT_TRUE(is_held(77));
    EXPECT_FALSE(is_held(78));
}

/// Those that a guest could see, and none that change nothing.
TEST_F(SlatTest, CountsModifications) {
    ASSERT_EQ(slat_.unmap(GpaPage{5}, released_), Status::success);
    EXPECT_EQ(slat_.modifications(), 0u);
    ASSERT_EQ(slat_.map(GpaPage{5}, SpaPage{7}, rwx, released_), Status::success);
    ASSERT_EQ(slat_.map(GpaPage{5}, SpaPage{7}, rx, released_), Status::success);
    EXPECT_EQ(slat_.modifications(), 2u);
    ASSERT_EQ(slat_.map_large(GpaPage{512}, SpaPage{512}, rwx, released_), Status::success);
    EXPECT_EQ(slat_.modifications(), 3u);
    EXPECT_EQ(slat_.shattered(), 0u);
    ASSERT_EQ(slat_.unmap(GpaPage{513}, released_), Status::success);
    EXPECT_EQ(slat_.modifications(), 4u);
    EXPECT_EQ(slat_.shattered(), 1u) << "for the hole";
    ASSERT_EQ(slat_.unmap_large(GpaPage{512}, released_), Status::success);
    EXPECT_EQ(slat_.modifications(), 5u);
    for (const std::uint64_t gpa : {1024u, 1025u, 1025u}) {
        ASSERT_EQ(slat_.map_no_access(GpaPage{gpa}, released_), Status::success);
    }
    EXPECT_EQ(slat_.modifications(), 7u) << "the last was so before";
    ASSERT_EQ(slat_.unmap(GpaPage{1025}, released_), Status::success);
    ASSERT_EQ(slat_.unmap(GpaPage{1024}, released_), Status::success);
    EXPECT_EQ(slat_.modifications(), 9u);
    NestedPageEntry old{};
    ASSERT_EQ(slat_.exchange(GpaPage{5}, NestedPageEntry::overlay(SpaPage{9}, true), old),
        Status::success);
    ASSERT_EQ(slat_.replace_detached(old, NestedPageEntry{}, released_), Status::success);
    EXPECT_EQ(slat_.modifications(), 11u);
    EXPECT_EQ(slat_.shattered(), 1u);
    EXPECT_EQ(slat_.recombined(), 0u);
    flush();
}

TEST_F(SlatTest, TheProcessorFindsTheSame) {
    // The walk of AMD64 APM vol. 2, 5.3.3, over the tables as they lie in memory.
    const auto walk = [this](std::uint64_t gpa) -> std::uint64_t {
        std::uint64_t table = slat_.root().address();
        for (unsigned shift = 39;; shift -= 9) {
            const std::uint64_t entry =
                reinterpret_cast<const std::uint64_t*>(table)[(gpa >> shift) & 0x1ff];
            if ((entry & 1) == 0) {
                return 0;
            }
            EXPECT_NE(entry & 4, 0u) << "a nested walk is a user access";
            const std::uint64_t base = entry & 0x000ffffffffff000ull;
            if (shift == 12 || (entry & 0x80) != 0) {
                const std::uint64_t size = 1ull << shift;
                EXPECT_EQ(base & (size - 1), 0u) << "reserved bits";
                return base | (gpa & (size - 1));
            }
            table = base;
        }
    };
    ASSERT_EQ(slat_.map(GpaPage{0xfedcba987}, SpaPage{3}, rwx, released_), Status::success);
    ASSERT_EQ(slat_.map_large(GpaPage{0x200}, SpaPage{0x400}, rwx, released_), Status::success);
    ASSERT_EQ(slat_.map_no_access_large(GpaPage{0x800}, released_), Status::success);
    EXPECT_EQ(walk(0xfedcba987123), 0x3123u);
    EXPECT_EQ(walk(0x200000), 0x400000u);
    EXPECT_EQ(walk(0x3fffff), 0x5fffffu);
    EXPECT_EQ(walk(0x400000), 0u);
    EXPECT_EQ(walk(0x1fffff), 0u);
    EXPECT_EQ(walk(0x800000), 0u);
    ASSERT_EQ(slat_.unmap(GpaPage{0x210}, released_), Status::success);
    EXPECT_EQ(walk(0x210000), 0u);
    EXPECT_EQ(walk(0x20f123), 0x40f123u);
    EXPECT_EQ(walk(0x211456), 0x411456u);
}

TEST_F(SlatTest, HoldsWhatItMapsUntilAllTlbsAreFlushed) {
    ASSERT_EQ(slat_.map(GpaPage{1}, SpaPage{10}, rwx, released_), Status::success);
    ASSERT_EQ(slat_.map(GpaPage{1}, SpaPage{11}, rwx, released_), Status::success);
    EXPECT_FALSE(released_.empty());
    EXPECT_TRUE(is_held(10)) << "a TLB may still know it";
    flush();
    EXPECT_TRUE(released_.empty());
    EXPECT_FALSE(is_held(10));
    EXPECT_TRUE(is_held(11));
    ASSERT_EQ(slat_.unmap(GpaPage{1}, released_), Status::success);
    EXPECT_TRUE(is_held(11));
    flush();
    EXPECT_FALSE(is_held(11));
    EXPECT_EQ(slat_.mapped_pages(), 0u);
}

TEST_F(SlatTest, HoldsATableUntilAllTlbsAreFlushed) {
    ASSERT_EQ(slat_.map(GpaPage{1}, SpaPage{10}, rwx, released_), Status::success);
    const std::uint64_t before = pool_.balance().free;
    ASSERT_EQ(slat_.unmap_large(GpaPage{0}, released_), Status::success);
    EXPECT_EQ(pool_.balance().free, before) << "a processor may be walking it";
    flush();
    EXPECT_EQ(pool_.balance().free, before + 1);
}

TEST_F(SlatTest, OnePageMayBeMappedOften) {
    for (std::uint64_t gpa = 0; gpa < 5; ++gpa) {
        ASSERT_EQ(slat_.map(GpaPage{gpa}, SpaPage{10}, rwx, released_), Status::success);
    }
    for (std::uint64_t gpa = 0; gpa < 5; ++gpa) {
        EXPECT_TRUE(is_held(10));
        ASSERT_EQ(slat_.unmap(GpaPage{gpa}, released_), Status::success);
        flush();
    }
    EXPECT_FALSE(is_held(10));
}

TEST_F(SlatTest, RemappingTheSamePageKeepsItHeld) {
    ASSERT_EQ(slat_.map(GpaPage{1}, SpaPage{10}, rwx, released_), Status::success);
    ASSERT_EQ(slat_.map(GpaPage{1}, SpaPage{10}, rx, released_), Status::success);
    EXPECT_EQ(slat_.lookup(GpaPage{1}).map_flags, rx);
    flush();
    EXPECT_TRUE(is_held(10));
    EXPECT_EQ(slat_.mapped_pages(), 1u);
}

TEST_F(SlatTest, RefusesWhatIsNotTheRoots) {
    for (const std::uint64_t spa : {Machine::deposited, Machine::hypervisor, Machine::shared}) {
        EXPECT_EQ(slat_.map(GpaPage{3}, SpaPage{spa}, rwx, released_), Status::access_denied);
        EXPECT_EQ(slat_.map_large(GpaPage{0}, SpaPage{spa & ~511ull}, rwx, released_),
            Status::access_denied);
    }
    EXPECT_EQ(slat_.lookup(GpaPage{3}).access, Slat::Access::unmapped);
    EXPECT_EQ(slat_.mapped_pages(), 0u);
    EXPECT_TRUE(released_.empty());

    ASSERT_EQ(slat_.map(GpaPage{3}, SpaPage{8}, rwx, released_), Status::success);
    EXPECT_EQ(
        slat_.map(GpaPage{3}, SpaPage{Machine::deposited}, rwx, released_), Status::access_denied);
    EXPECT_EQ(slat_.lookup(GpaPage{3}).page, SpaPage{8}) << "what was there stays there";
    EXPECT_TRUE(released_.empty());
}

TEST_F(SlatTest, DevicesCostNoReference) {
    ASSERT_EQ(slat_.map(GpaPage{3}, SpaPage{0xfec00}, rwx | HV_MAP_GPA_NOT_CACHED, released_),
        Status::success);
    EXPECT_EQ(slat_.lookup(GpaPage{3}).map_flags, rwx | HV_MAP_GPA_NOT_CACHED);
    ASSERT_EQ(slat_.unmap(GpaPage{3}, released_), Status::success);
    flush();
}

TEST_F(SlatTest, LargePagesAreOneEntryAndAreSplitOnlyWhenTheyMust) {
    const std::uint64_t with_upper_tables = 3;
    ASSERT_EQ(slat_.map_large(GpaPage{512}, SpaPage{1024}, rx, released_), Status::success);
    EXPECT_EQ(tables(), with_upper_tables);
    EXPECT_EQ(slat_.mapped_pages(), 512u);
    EXPECT_TRUE(slat_.lookup(GpaPage{600}).large);
    EXPECT_EQ(slat_.lookup(GpaPage{1023}).page, SpaPage{1535});
    EXPECT_EQ(slat_.lookup(GpaPage{1024}).access, Slat::Access::unmapped);

    ASSERT_EQ(slat_.map(GpaPage{600}, SpaPage{5}, rwx, released_), Status::success);
    EXPECT_EQ(tables(), with_upper_tables + 1);
    EXPECT_EQ(slat_.mapped_pages(), 512u);
    for (std::uint64_t i = 0; i < 512; ++i) {
        const auto mapping = slat_.lookup(GpaPage{512 + i});
        ASSERT_EQ(mapping.access, Slat::Access::mapped);
        ASSERT_FALSE(mapping.large);
        ASSERT_EQ(mapping.page, i == 88 ? SpaPage{5} : SpaPage{1024 + i});
        ASSERT_EQ(mapping.map_flags, i == 88 ? rwx : rx);
    }
    EXPECT_TRUE(is_held(1024 + 88));
    flush();
    EXPECT_FALSE(is_held(1024 + 88)) << "the part that was replaced is free";
    EXPECT_TRUE(is_held(1024 + 87));

    // And put together again, which frees the table.
    ASSERT_EQ(slat_.map_large(GpaPage{512}, SpaPage{1024}, rwx, released_), Status::success);
    EXPECT_TRUE(slat_.lookup(GpaPage{600}).large);
    EXPECT_TRUE(is_held(5));
    flush();
    EXPECT_FALSE(is_held(5));
    EXPECT_TRUE(is_held(1024 + 88));
    EXPECT_EQ(tables(), with_upper_tables);
    EXPECT_EQ(slat_.mapped_pages(), 512u);
}

TEST_F(SlatTest, SplittingKeepsAccessedAndDirty) {
    ASSERT_EQ(slat_.map_large(GpaPage{0}, SpaPage{512}, rwx, released_), Status::success);
    bool changed = false;
    (void)slat_.access_state(
        GpaPage{0}, HV_GPA_ACCESS_SET_ACCESSED | HV_GPA_ACCESS_SET_DIRTY, changed);
    ASSERT_EQ(slat_.unmap(GpaPage{3}, released_), Status::success);
    EXPECT_EQ(slat_.access_state(GpaPage{4}, 0, changed), HV_GPA_PAGE_ACCESSED | HV_GPA_PAGE_DIRTY);
    EXPECT_EQ(slat_.access_state(GpaPage{3}, 0, changed), 0);
}

TEST_F(SlatTest, TellsAndChangesAccessedAndDirty) {
    ASSERT_EQ(slat_.map(GpaPage{9}, SpaPage{512}, rwx, released_), Status::success);
    struct Step {
        std::uint64_t flags;
        unsigned before;
        bool changed;
    };
    constexpr unsigned a = HV_GPA_PAGE_ACCESSED;
    constexpr unsigned d = HV_GPA_PAGE_DIRTY;
    for (const Step& step : {Step{0, 0, false}, Step{HV_GPA_ACCESS_SET_ACCESSED, 0, false},
             Step{HV_GPA_ACCESS_SET_DIRTY, a, false}, Step{0, a | d, false},
             Step{HV_GPA_ACCESS_CLEAR_ACCESSED, a | d, true},
             Step{HV_GPA_ACCESS_CLEAR_ACCESSED, d, false},
             Step{HV_GPA_ACCESS_CLEAR_DIRTY | HV_GPA_ACCESS_SET_ACCESSED, d, true},
             Step{HV_GPA_ACCESS_CLEAR_ACCESSED | HV_GPA_ACCESS_SET_DIRTY, a, true},
             Step{0, d, false}}) {
        bool changed = false;
        EXPECT_EQ(slat_.access_state(GpaPage{9}, step.flags, changed), step.before);
        EXPECT_EQ(changed, step.changed);
    }
    bool changed = true;
    (void)slat_.access_state(GpaPage{9}, 0, changed);
    EXPECT_TRUE(changed) << "what an earlier page needs is not forgotten";
    EXPECT_EQ(slat_.lookup(GpaPage{9}).page, SpaPage{512});
    EXPECT_EQ(slat_.lookup(GpaPage{9}).map_flags, rwx);
}

TEST_F(SlatTest, AStateOutlivesAPageThatIsTakenAwayForAWhile) {
    constexpr unsigned both = HV_GPA_PAGE_ACCESSED | HV_GPA_PAGE_DIRTY;
    bool changed = false;
    ASSERT_EQ(slat_.map(GpaPage{9}, SpaPage{512}, rwx, released_), Status::success);
    slat_.note_written(GpaPage{9});
    ASSERT_EQ(slat_.map_no_access(GpaPage{9}, released_), Status::success);
    EXPECT_EQ(slat_.lookup(GpaPage{9}).access, Slat::Access::no_access);
    EXPECT_EQ(slat_.access_state(GpaPage{9}, 0, changed), both);
    // Its content has moved.
    ASSERT_EQ(slat_.map(GpaPage{9}, SpaPage{700}, rwx, released_), Status::success);
    EXPECT_EQ(slat_.access_state(GpaPage{9}, 0, changed), both);
    ASSERT_EQ(slat_.map_no_access(GpaPage{9}, released_), Status::success);
    EXPECT_EQ(slat_.access_state(GpaPage{9}, HV_GPA_ACCESS_CLEAR_DIRTY, changed), both);
    ASSERT_EQ(slat_.map(GpaPage{9}, SpaPage{512}, rwx, released_), Status::success);
    EXPECT_EQ(slat_.access_state(GpaPage{9}, 0, changed), HV_GPA_PAGE_ACCESSED);
    // One that is gone for good is another page when it comes back.
    ASSERT_EQ(slat_.unmap(GpaPage{9}, released_), Status::success);
    ASSERT_EQ(slat_.map(GpaPage{9}, SpaPage{512}, rwx, released_), Status::success);
    EXPECT_EQ(slat_.access_state(GpaPage{9}, 0, changed), 0);
}

TEST_F(SlatTest, TracksEachPageOfWhatWasMappedAsMore) {
    for (std::uint64_t region = 0; region < 3; ++region) {
        ASSERT_EQ(
            slat_.map_large(GpaPage{512 * region}, SpaPage{512 * (region + 1)}, rwx, released_),
            Status::success);
    }
    slat_.note_written(GpaPage{5});
    EXPECT_EQ(slat_.mapped_large(), 3u);
    ASSERT_EQ(slat_.track_pages(true), Status::success);
    EXPECT_TRUE(slat_.tracks_pages());
    EXPECT_EQ(slat_.mapped_large(), 0u);
    EXPECT_EQ(slat_.mapped_pages(), 3u * 512);
    bool changed = false;
    EXPECT_EQ(
        slat_.access_state(GpaPage{6}, HV_GPA_ACCESS_CLEAR_DIRTY, changed) & HV_GPA_PAGE_DIRTY,
        unsigned{HV_GPA_PAGE_DIRTY});
    EXPECT_TRUE(changed);
    slat_.note_written(GpaPage{1029});
    for (std::uint64_t page = 512; page < 3u * 512; ++page) {
        EXPECT_EQ(slat_.access_state(GpaPage{page}, 0, changed) != 0, page == 1029) << page;
    }
    ASSERT_EQ(slat_.track_pages(false), Status::success);
    EXPECT_FALSE(slat_.tracks_pages());
}

TEST_F(SlatTest, TrackingGoesOnWhereMemoryRanOut) {
    for (std::uint64_t region = 0; region < 3; ++region) {
        ASSERT_EQ(
            slat_.map_large(GpaPage{512 * region}, SpaPage{512 * (region + 1)}, rwx, released_),
            Status::success);
    }
    std::vector<SpaPage> taken;
    while (const auto page = pool_.allocate()) {
        taken.push_back(*page);
    }
    for (std::uint64_t region = 0; region < 3; ++region) {
        EXPECT_EQ(slat_.track_pages(true), Status::insufficient_memory);
        EXPECT_EQ(slat_.mapped_large(), 3 - region);
        pool_.free(taken.back());
        taken.pop_back();
    }
    EXPECT_EQ(slat_.track_pages(true), Status::success);
    EXPECT_EQ(slat_.mapped_large(), 0u);
    for (const SpaPage page : taken) {
        pool_.free(page);
    }
}

TEST_F(SlatTest, WithoutAccessCostsNoTableForEveryTwoMebibytes) {
    ASSERT_EQ(slat_.map_no_access_large(GpaPage{0}, released_), Status::success);
    const std::uint64_t with_upper_tables = tables();
    for (std::uint64_t region = 1; region < 500; ++region) {
        ASSERT_EQ(slat_.map_no_access_large(GpaPage{region * 512}, released_), Status::success);
    }
    EXPECT_EQ(tables(), with_upper_tables);
    // Page by page, in either direction, with a beginning that isn't aligned.
    for (std::uint64_t i = 0; i < 300; ++i) {
        ASSERT_EQ(slat_.map_no_access(GpaPage{500 * 512 + 100 + i}, released_), Status::success);
        ASSERT_EQ(slat_.map_no_access(GpaPage{501 * 512 + 511 - i}, released_), Status::success);
    }
    EXPECT_EQ(tables(), with_upper_tables);
    for (std::uint64_t i = 0; i < 512; ++i) {
        const auto expected = [](bool known) {
            return known ? Slat::Access::no_access : Slat::Access::unmapped;
        };
        ASSERT_EQ(slat_.lookup(GpaPage{500 * 512 + i}).access, expected(i >= 100 && i < 400));
        ASSERT_EQ(slat_.lookup(GpaPage{501 * 512 + i}).access, expected(i >= 212));
        ASSERT_EQ(slat_.lookup(GpaPage{499 * 512 + i}).access, Slat::Access::no_access);
    }
    EXPECT_EQ(slat_.mapped_pages(), 0u);
    EXPECT_TRUE(released_.empty());
    // Known already: nothing changes.
    ASSERT_EQ(slat_.map_no_access(GpaPage{500 * 512 + 250}, released_), Status::success);
    EXPECT_EQ(tables(), with_upper_tables);
}

TEST_F(SlatTest, AHoleInWhatHasNoAccessCostsOneTable) {
    ASSERT_EQ(slat_.map_no_access_large(GpaPage{0}, released_), Status::success);
    const std::uint64_t before = tables();
    ASSERT_EQ(slat_.unmap(GpaPage{100}, released_), Status::success);
    EXPECT_EQ(tables(), before + 1);
    for (std::uint64_t i = 0; i < 512; ++i) {
        ASSERT_EQ(slat_.lookup(GpaPage{i}).access,
            i == 100 ? Slat::Access::unmapped : Slat::Access::no_access);
    }
    // Two pieces, the same.
    ASSERT_EQ(slat_.map_no_access(GpaPage{512}, released_), Status::success);
    ASSERT_EQ(slat_.map_no_access(GpaPage{514}, released_), Status::success);
    EXPECT_EQ(tables(), before + 2);
    EXPECT_EQ(slat_.lookup(GpaPage{513}).access, Slat::Access::unmapped);
    EXPECT_EQ(slat_.lookup(GpaPage{514}).access, Slat::Access::no_access);
}

TEST_F(SlatTest, GivingUpWhatHasNoAccessNeedsNoMemory) {
    // As upstream unmaps a region whose ends are not aligned: page by page, from the beginning.
    for (std::uint64_t i = 100; i < 400; ++i) {
        ASSERT_EQ(slat_.map_no_access(GpaPage{i}, released_), Status::success);
    }
    const Shortage shortage{pool_, 0};
    EXPECT_EQ(slat_.unmap(GpaPage{99}, released_), Status::success);
    EXPECT_EQ(slat_.unmap(GpaPage{400}, released_), Status::success);
    EXPECT_EQ(slat_.unmap(GpaPage{399}, released_), Status::success);
    EXPECT_EQ(slat_.lookup(GpaPage{399}).access, Slat::Access::unmapped);
    EXPECT_EQ(slat_.lookup(GpaPage{398}).access, Slat::Access::no_access);
    for (std::uint64_t i = 100; i < 399; ++i) {
        ASSERT_EQ(slat_.unmap(GpaPage{i}, released_), Status::success);
        ASSERT_EQ(slat_.lookup(GpaPage{i}).access, Slat::Access::unmapped);
        ASSERT_EQ(slat_.lookup(GpaPage{i + 1}).access,
            i < 398 ? Slat::Access::no_access : Slat::Access::unmapped);
    }
}

TEST_F(SlatTest, ExchangesAndGivesBack) {
    ASSERT_EQ(slat_.map_large(GpaPage{0}, SpaPage{512}, rx, released_), Status::success);
    NestedPageEntry below{};
    const auto overlay = NestedPageEntry::overlay(SpaPage{Machine::hypervisor}, true);
    ASSERT_EQ(slat_.exchange(GpaPage{5}, overlay, below), Status::success);
    EXPECT_EQ(below.page(), SpaPage{517});
    EXPECT_EQ(below.map_flags(), rx);
    EXPECT_EQ(slat_.lookup(GpaPage{5}).page, SpaPage{Machine::hypervisor});
    EXPECT_EQ(slat_.lookup(GpaPage{5}).map_flags, rwx);
    EXPECT_TRUE(is_held(517));
    ASSERT_EQ(
        slat_.replace_detached(below, NestedPageEntry::leaf(SpaPage{5}, rwx, false), released_),
        Status::success);
    EXPECT_TRUE(is_held(5));
    EXPECT_TRUE(is_held(517));
    flush();
    EXPECT_FALSE(is_held(517));
    EXPECT_EQ(slat_.replace_detached(
                  below, NestedPageEntry::leaf(SpaPage{Machine::deposited}, rwx, false), released_),
        Status::access_denied);
    EXPECT_EQ(below.page(), SpaPage{5});
    EXPECT_EQ(slat_.mapped_pages(), 512u);
    NestedPageEntry mine{};
    ASSERT_EQ(slat_.exchange(GpaPage{5}, below, mine), Status::success);
    EXPECT_TRUE(mine.is_overlay());
    EXPECT_EQ(slat_.lookup(GpaPage{5}).page, SpaPage{5});
}

TEST_F(SlatTest, DestroyingGivesAllBack) {
    ASSERT_EQ(slat_.map_large(GpaPage{0}, SpaPage{512}, rwx, released_), Status::success);
    ASSERT_EQ(slat_.map_large(GpaPage{1ull << 27}, SpaPage{512}, rwx, released_), Status::success);
    ASSERT_EQ(slat_.map(GpaPage{1ull << 30}, SpaPage{3}, rwx, released_), Status::success);
    ASSERT_EQ(slat_.unmap(GpaPage{7}, released_), Status::success);
    ASSERT_EQ(slat_.map_no_access_large(GpaPage{1024}, released_), Status::success);
    flush();
    slat_.destroy();
    EXPECT_EQ(tables(), 0u);
    EXPECT_EQ(slat_.mapped_pages(), 0u);
    EXPECT_FALSE(is_held(3));
    EXPECT_FALSE(is_held(512));
    EXPECT_FALSE(is_held(519));
    EXPECT_EQ(slat_.lookup(GpaPage{0}).access, Slat::Access::unmapped);
    slat_.destroy();
    EXPECT_EQ(tables(), 0u);
    EXPECT_TRUE(slat_.create()) << "and it can be made again";
}

TEST_F(SlatTest, WithoutAPageThereIsNoSpace) {
    slat_.destroy();
    const Shortage shortage{pool_, 0};
    EXPECT_FALSE(slat_.create());
}

TEST(SlatOfTheRoot, MapsAllAndHoldsNothing) {
    const HostPages pages{16};
    PagePool pool;
    pages.add_to(pool);
    Machine machine;
    Slat slat{machine.records, pool, false};
    ReleaseList released;
    ASSERT_TRUE(slat.create());
    ASSERT_EQ(slat.map_huge_identity(GpaPage{0}), Status::success);
    ASSERT_EQ(slat.map_huge_identity(GpaPage{1u << 18}), Status::success);
    constexpr std::uint64_t huge = 1u << 18;
    EXPECT_EQ(slat.mapped_pages(), 2 * huge);
    for (const std::uint64_t page : {0ull, 1ull, 511ull, 0x3ffffull, 0x40000ull, 0x7ffffull}) {
        EXPECT_EQ(slat.lookup(GpaPage{page}).page, SpaPage{page});
        EXPECT_EQ(slat.lookup(GpaPage{page}).map_flags, rwx);
        EXPECT_TRUE(slat.lookup(GpaPage{page}).large);
    }
    EXPECT_EQ(slat.lookup(GpaPage{0x80000}).access, Slat::Access::unmapped);
    // A deposit: the page has been taken from the root, and now it leaves the root's map.
    ASSERT_TRUE(machine.records.try_take(SpaPage{700}, 1));
    ASSERT_EQ(slat.unmap(GpaPage{700}, released), Status::success);
    EXPECT_TRUE(released.empty());
    EXPECT_EQ(slat.mapped_pages(), 2 * huge - 1);
    EXPECT_EQ(slat.lookup(GpaPage{700}).access, Slat::Access::unmapped);
    EXPECT_EQ(slat.lookup(GpaPage{701}).page, SpaPage{701});
    EXPECT_EQ(slat.lookup(GpaPage{1200}).page, SpaPage{1200});
    EXPECT_EQ(slat.lookup(GpaPage{0x3ffff}).page, SpaPage{0x3ffff});
    EXPECT_EQ(slat.lookup(GpaPage{0x40000}).page, SpaPage{0x40000});
    // And its way back needs no memory.
    {
        const Shortage shortage{pool, 0};
        ASSERT_EQ(slat.map(GpaPage{700}, SpaPage{700}, rwx, released), Status::success);
    }
    machine.records.give_back(SpaPage{700});
    EXPECT_EQ(slat.mapped_pages(), 2 * huge);
    // A child may hold what the root maps.
    EXPECT_TRUE(machine.records.try_reference(SpaPage{701}));
    slat.destroy();
    machine.records.release(SpaPage{701});
    EXPECT_EQ(pool.balance().free, pool.balance().total);
}

// ---- Against a model ----

class SlatUnderTest {
public:
    SlatUnderTest(Machine& machine, PagePool& pool) : slat_{machine.records, pool, true} {
        EXPECT_TRUE(slat_.create());
    }
    Status map(GpaPage g, SpaPage s, std::uint32_t f, ReleaseList& r) {
        return slat_.map(g, s, f, r);
    }
    Status map_large(GpaPage g, SpaPage s, std::uint32_t f, ReleaseList& r) {
        return slat_.map_large(g, s, f, r);
    }
    Status map_no_access(GpaPage g, ReleaseList& r) { return slat_.map_no_access(g, r); }
    Status map_no_access_large(GpaPage g, ReleaseList& r) {
        return slat_.map_no_access_large(g, r);
    }
    Status unmap(GpaPage g, ReleaseList& r) { return slat_.unmap(g, r); }
    Status unmap_large(GpaPage g, ReleaseList& r) { return slat_.unmap_large(g, r); }
    [[nodiscard]] Slat::Mapping lookup(GpaPage g) const { return slat_.lookup(g); }
    [[nodiscard]] std::uint64_t mapped_pages() const { return slat_.mapped_pages(); }
    void destroy() { slat_.destroy(); }

private:
    Slat slat_;
};

TEST(SlatModel, ManyRandomChanges) {
    run_against_model<SlatUnderTest>(
        {.seed = 1, .steps = 3000, .pool_pages = 64, .keep_free = ~0ull});
}

TEST(SlatModel, EveryAllocationMayFail) {
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
        SCOPED_TRACE(seed);
        run_against_model<SlatUnderTest>(
            {.seed = 100 + seed, .steps = 250, .pool_pages = 64, .keep_free = seed % 4});
    }
}

} // namespace
} // namespace hypervisor
