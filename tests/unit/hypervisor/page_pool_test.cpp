// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/hypervisor/host_pages.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <set>
#include <thread>

namespace hypervisor {
namespace {

bool is_zero(SpaPage page) {
    const auto* const bytes = pointer_to<const std::uint8_t>(page);
    return std::all_of(bytes, bytes + page_size, [](std::uint8_t byte) { return byte == 0; });
}

TEST(PagePool, IsEmptyAtFirst) {
    PagePool pool;
    EXPECT_EQ(pool.balance().free, 0u);
    EXPECT_EQ(pool.balance().total, 0u);
    EXPECT_FALSE(pool.allocate());
    EXPECT_FALSE(pool.remove());
}

TEST(PagePool, GivesEachPageOnceAndZeroed) {
    const HostPages pages{5};
    PagePool pool;
    pages.add_to(pool);
    std::set<std::uint64_t> given;
    for (std::size_t i = 0; i < pages.count(); ++i) {
        const auto page = pool.allocate();
        ASSERT_TRUE(page);
        EXPECT_TRUE(is_zero(*page));
        std::memset(pointer_to<void>(*page), 0xff, page_size);
        given.insert(page->number());
    }
    EXPECT_FALSE(pool.allocate());
    EXPECT_EQ(given.size(), pages.count());
    EXPECT_EQ(*given.begin(), pages[0].number());
    EXPECT_EQ(*given.rbegin(), pages[4].number());

    // A page that comes back is given again, without what was in it.
    pool.free(pages[2]);
    const auto again = pool.allocate();
    ASSERT_EQ(again, pages[2]);
    EXPECT_TRUE(is_zero(*again));
}

TEST(PagePool, BalanceTellsWhatIsFreeAndWhatThereIs) {
    const HostPages pages{8};
    PagePool pool;
    std::mt19937 random{7};
    std::set<std::uint64_t> outside;
    std::set<std::uint64_t> in_use;
    for (std::size_t i = 0; i < pages.count(); ++i) {
        outside.insert(pages[i].number());
    }
    for (int step = 0; step < 5000; ++step) {
        const std::size_t free = pages.count() - outside.size() - in_use.size();
        switch (random() % 4) {
        case 0:
            if (!outside.empty()) {
                pool.add(SpaPage{*outside.begin()});
                outside.erase(outside.begin());
            }
            break;
        case 1: {
            const auto page = pool.remove();
            ASSERT_EQ(page.has_value(), free > 0);
            if (page) {
                ASSERT_FALSE(in_use.contains(page->number()));
                ASSERT_TRUE(outside.insert(page->number()).second);
            }
            break;
        }
        case 2: {
            const auto page = pool.allocate();
            ASSERT_EQ(page.has_value(), free > 0);
            if (page) {
                ASSERT_FALSE(outside.contains(page->number()));
                ASSERT_TRUE(in_use.insert(page->number()).second);
            }
            break;
        }
        default:
            if (!in_use.empty()) {
                pool.free(SpaPage{*in_use.rbegin()});
                in_use.erase(std::prev(in_use.end()));
            }
        }
        ASSERT_EQ(pool.balance().total, pages.count() - outside.size());
        ASSERT_EQ(pool.balance().free, pages.count() - outside.size() - in_use.size());
    }
}

TEST(PagePoolDeathTest, TakesBackOnlyWhatItHasGiven) {
    const HostPages pages{2};
    PagePool pool;
    pages.add_to(pool);
    const auto page = pool.allocate();
    ASSERT_TRUE(page);
    pool.free(*page);
    EXPECT_DEATH(pool.free(*page), "not given out");
}

TEST(PagePool, ServesTwoProcessors) {
    const HostPages pages{3};
    PagePool pool;
    pages.add_to(pool);
    const auto work = [&pool](std::uint64_t mine) {
        for (int i = 0; i < 5000; ++i) {
            if (const auto page = pool.allocate()) {
                auto* const word = pointer_to<std::uint64_t>(*page);
                word[9] = mine;
                std::this_thread::yield();
                ASSERT_EQ(word[9], mine);
                pool.free(*page);
            }
        }
    };
    std::thread other{work, 1};
    work(2);
    other.join();
    EXPECT_EQ(pool.balance().free, 3u);
    EXPECT_EQ(pool.balance().total, 3u);
}

} // namespace
} // namespace hypervisor
