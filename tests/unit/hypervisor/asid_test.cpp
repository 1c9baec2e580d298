// SPDX-License-Identifier: Apache-2.0
// The emulator flushes its whole TLB at every world switch, so what a processor would remember is
// shown here: a TLB that forgets nothing by itself.
#include "hypervisor/cpu/svm/asid.hpp"

#include <array>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <set>

namespace hypervisor::svm {
namespace {

TEST(Asid, StaysWhileNothingChanges) {
    AsidAllocator allocator{0, 16};
    AsidTicket ticket;
    const auto first = allocator.acquire(ticket, false);
    EXPECT_GT(first.asid, 0u) << "ASID 0 is the host's";
    for (int i = 0; i < 100; ++i) {
        const auto again = allocator.acquire(ticket, false);
        EXPECT_EQ(again.asid, first.asid);
        EXPECT_FALSE(again.flush_all);
    }
}

TEST(Asid, AFlushIsAFreshOne) {
    AsidAllocator allocator{0, 16};
    AsidTicket ticket;
    const auto first = allocator.acquire(ticket, false);
    const auto second = allocator.acquire(ticket, true);
    EXPECT_NE(second.asid, first.asid);
    EXPECT_EQ(allocator.acquire(ticket, false).asid, second.asid);
}

TEST(Asid, WithOneForGuestsEachEntryOfAnotherFlushes) {
    for (const std::uint32_t count : {0u, 1u, 2u}) {
        AsidAllocator allocator{0, count};
        AsidTicket a;
        AsidTicket b;
        EXPECT_EQ(allocator.acquire(a, false).asid, 1u);
        EXPECT_FALSE(allocator.acquire(a, false).flush_all);
        for (int i = 0; i < 3; ++i) {
            const auto theirs = allocator.acquire(b, false);
            EXPECT_EQ(theirs.asid, 1u);
            EXPECT_TRUE(theirs.flush_all);
            const auto ours = allocator.acquire(a, false);
            EXPECT_EQ(ours.asid, 1u);
            EXPECT_TRUE(ours.flush_all);
        }
    }
}

TEST(Asid, NoTwoShareOne) {
    AsidAllocator allocator{0, 16};
    std::array<AsidTicket, 15> tickets{};
    std::set<std::uint32_t> given;
    for (AsidTicket& ticket : tickets) {
        const auto result = allocator.acquire(ticket, false);
        EXPECT_FALSE(result.flush_all) << "all 15 can be had without a flush";
        EXPECT_LT(result.asid, 16u);
        given.insert(result.asid);
    }
    EXPECT_EQ(given.size(), tickets.size());
    AsidTicket one_more;
    EXPECT_TRUE(allocator.acquire(one_more, false).flush_all);
    EXPECT_NE(allocator.acquire(tickets[0], false).asid, allocator.acquire(one_more, false).asid);
}

/// TLBs of several processors and virtual processors that change their address spaces.
void run_model(std::uint64_t seed, std::uint32_t count, unsigned vps, int steps) {
    constexpr std::uint32_t lps = 3;
    struct Translation {
        std::uint64_t vp; ///< never used again for another
        std::uint64_t version;
    };
    struct VirtualProcessor {
        std::uint64_t id;
        std::uint64_t version = 0;
        bool flush = true;
        AsidTicket ticket{};
    };
    std::mt19937_64 random{seed};
    std::array<AsidAllocator, lps> allocators{
        AsidAllocator{0, count}, AsidAllocator{1, count}, AsidAllocator{2, count}};
    std::array<std::multimap<std::uint32_t, Translation>, lps> tlbs;
    std::vector<VirtualProcessor> all(vps);
    std::uint64_t next_id = 0;
    for (VirtualProcessor& vp : all) {
        vp.id = next_id++;
    }
    unsigned flushes = 0;
    for (int step = 0; step < steps; ++step) {
        VirtualProcessor& vp = all[random() % all.size()];
        const auto lp =
            static_cast<std::uint32_t>(random() % 8 == 0 ? random() % lps : vp.id % lps);
        switch (random() % 16) {
        case 0: // its nested page table changes; the shoot-down makes it run with a fresh ASID
            ++vp.version;
            vp.flush = true;
            break;
        case 1:
            if (random() % 8 == 0) { // it dies, and another takes its place
                vp = {.id = next_id++};
            }
            break;
        default: {
            const auto [asid, flush_all] = allocators[lp].acquire(vp.ticket, vp.flush);
            vp.flush = false;
            ASSERT_GT(asid, 0u);
            ASSERT_LT(asid, count);
            auto& tlb = tlbs[lp];
            if (flush_all) {
                tlb.clear();
                ++flushes;
            }
            const auto [first, last] = tlb.equal_range(asid);
            for (auto at = first; at != last; ++at) {
                ASSERT_EQ(at->second.vp, vp.id) << "another's translation";
                ASSERT_EQ(at->second.version, vp.version) << "a stale translation";
            }
            if (first == last || random() % 4 == 0) {
                tlb.emplace(asid, Translation{vp.id, vp.version});
            }
        }
        }
    }
    EXPECT_GT(flushes, 0u) << "the run was to wrap around";
}

TEST(Asid, NeverServesAStaleTranslation) {
    for (const std::uint32_t count : {2u, 3u, 8u, 64u}) {
        for (std::uint64_t seed = 0; seed < 6; ++seed) {
            SCOPED_TRACE(count);
            run_model(seed, count, 6, 8'000);
        }
    }
    run_model(99, 8, 1, 20'000);
}

} // namespace
} // namespace hypervisor::svm
