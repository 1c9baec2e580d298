// SPDX-License-Identifier: Apache-2.0
// The emulator forgets all translations at each world switch, so a forgotten flush never shows
// there. Here processors remember everything until they are told.
#include "hypervisor/cpu/tlb_shootdown.hpp"

#include <array>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace hypervisor {

namespace {

class Processor {
public:
    GuestPresence& presence() { return presence_; }
    std::atomic<bool> kicked{false};

private:
    GuestPresence presence_;
};

const auto no_kick = [](Processor&) {
};
const auto no_pause = [] {
    FAIL() << "there is nobody to wait for";
};

/// A virtual processor's domain, and what it has seen of it.
struct Vp {
    TlbDomain domain;
    std::uint64_t seen = domain.epoch();
    GuestPresence::View view() { return {domain, seen}; }
};

TEST(TlbShootdown, TheFirstEntryHasNothingToDrop) {
    const TlbDomain domain;
    Processor lp;
    Vp vp;
    std::uint64_t seen = domain.epoch();
    EXPECT_FALSE(lp.presence().enter({domain, seen}, vp.view()));
    lp.presence().leave();
    EXPECT_FALSE(lp.presence().enter({domain, seen}, vp.view()));
}

TEST(TlbShootdown, WhoIsInNoGuestIsNotWaitedForAndDropsAtItsNextEntry) {
    TlbDomain domain;
    Processor lp;
    Vp vp;
    std::uint64_t seen = domain.epoch();
    shoot_down(domain, std::array{&lp}, no_kick, no_pause);
    EXPECT_TRUE(lp.presence().enter({domain, seen}, vp.view()));
    lp.presence().leave();
    EXPECT_FALSE(lp.presence().enter({domain, seen}, vp.view()));
}

TEST(TlbShootdown, WhoIsInAnotherPartitionsGuestIsLeftAlone) {
    TlbDomain domain;
    const TlbDomain other;
    Processor lp;
    Vp vp;
    std::uint64_t seen = 0;
    (void)lp.presence().enter({other, seen}, vp.view());
    shoot_down(
        domain, std::array{&lp}, [](Processor&) { FAIL() << "kicked"; }, no_pause);
}

/// One that has left and come back meanwhile has dropped what it had: it may stay as long as it
/// likes.
TEST(TlbShootdown, WhoHasComeBackSinceIsNotWaitedFor) {
    TlbDomain domain;
    Processor lp;
    Vp vp;
    std::uint64_t seen = domain.epoch();
    (void)lp.presence().enter({domain, seen}, vp.view());
    const auto leave_and_enter = [&](Processor& processor) {
        processor.presence().leave();
        EXPECT_TRUE(processor.presence().enter({domain, seen}, vp.view()));
    };
    shoot_down(domain, std::array{&lp}, leave_and_enter, no_pause);
}

TEST(TlbShootdown, AVirtualProcessorsEpochIsItsOwn) {
    const TlbDomain domain;
    Processor lp;
    Processor other_lp;
    Vp vp;
    Vp other;
    std::array<std::uint64_t, 2> seen{domain.epoch(), domain.epoch()};
    (void)lp.presence().enter({domain, seen[0]}, vp.view());
    (void)other_lp.presence().enter({domain, seen[1]}, other.view());
    vp.domain.advance();
    std::vector<Processor*> kicked;
    wait_for_ended_epochs(
        domain, std::array{&lp, &other_lp},
        [&](Processor& processor) {
            kicked.push_back(&processor);
            processor.presence().leave();
            EXPECT_TRUE(processor.presence().enter({domain, seen[0]}, vp.view()));
        },
        no_pause);
    EXPECT_EQ(kicked, std::vector{&lp});
    other_lp.presence().leave();
    EXPECT_FALSE(other_lp.presence().enter({domain, seen[1]}, other.view()));
}

TEST(TlbShootdown, AVirtualProcessorInNoGuestIsNotWaitedFor) {
    const TlbDomain domain;
    Processor lp;
    Vp vp;
    std::uint64_t seen = domain.epoch();
    (void)lp.presence().enter({domain, seen}, vp.view());
    lp.presence().leave();
    vp.domain.advance();
    wait_for_ended_epochs(
        domain, std::array{&lp}, [](Processor&) { FAIL() << "kicked"; }, no_pause);
    EXPECT_TRUE(lp.presence().enter({domain, seen}, vp.view()));
}

TEST(TlbShootdown, VirtualProcessorsOfOtherPartitionsAreLeftAlone) {
    const TlbDomain domain;
    const TlbDomain other;
    Processor lp;
    Vp vp;
    std::uint64_t seen = other.epoch();
    (void)lp.presence().enter({other, seen}, vp.view());
    vp.domain.advance();
    wait_for_ended_epochs(
        domain, std::array{&lp}, [](Processor&) { FAIL() << "kicked"; }, no_pause);
}

/// Guests change their page tables, have each other forget, and then use the pages anew.
TEST(TlbShootdown, NobodyUsesTranslationsThatHaveExpired) {
    constexpr int changes = 1000;
    constexpr std::size_t vp_count = 3;
    const TlbDomain domain;
    std::array<TlbDomain, vp_count> vps;
    std::array<Processor, vp_count> lps;
    const std::array all{&lps[0], &lps[1], &lps[2]};
    std::atomic<int> table{0};
    std::array<std::atomic<bool>, changes + 1> reused{};
    std::atomic<bool> done{false};
    std::atomic<unsigned> wrong{0};
    // Virtual processors go from one logical processor to the next.
    std::array<std::atomic<bool>, vp_count> is_taken{};
    std::array<std::uint64_t, vp_count> seen_of_vp{};
    std::array<std::uint64_t, vp_count> seen_of_partition{};
    const auto run = [&](Processor& lp, unsigned number) {
        std::mt19937 random{number};
        while (!done) {
            const std::size_t i = random() % vp_count;
            if (is_taken[i].exchange(true)) {
                std::this_thread::yield();
                continue;
            }
            constexpr int nothing = -1;
            int remembered = nothing;
            for (unsigned entry = 0; entry < 10 && !done; ++entry) {
                if (lp.presence().enter({domain, seen_of_partition[i]}, {vps[i], seen_of_vp[i]})) {
                    remembered = nothing;
                }
                for (auto left = random() % 50; left > 0 && !lp.kicked.exchange(false); --left) {
                    if (remembered == nothing) {
                        remembered = table.load(std::memory_order_acquire);
                    }
                    wrong += reused[static_cast<std::size_t>(remembered)] ? 1 : 0;
                }
                lp.presence().leave();
            }
            is_taken[i] = false;
        }
    };
    {
        std::vector<std::jthread> runners;
        for (unsigned i = 0; i < vp_count; ++i) {
            runners.emplace_back(run, std::ref(lps[i]), i);
        }
        for (int i = 0; i < changes; ++i) {
            table.store(i + 1, std::memory_order_release);
            for (TlbDomain& vp : vps) {
                vp.advance();
            }
            wait_for_ended_epochs(
                domain, all, [](Processor& lp) { lp.kicked = true; },
                [] { std::this_thread::yield(); });
            reused[static_cast<std::size_t>(i)] = true;
        }
        done = true;
    }
    EXPECT_EQ(wrong, 0u);
}

/// Processors run virtual processors of two partitions, remember what they have read of the page
/// table, and use it, while others change the table and then give away what it referred to.
TEST(TlbShootdown, NobodyUsesWhatHasBeenGivenAway) {
    constexpr int changes = 3000;
    constexpr std::size_t processor_count = 3;
    struct Partition {
        TlbDomain domain;
        std::atomic<int> table{0};
        std::array<std::atomic<bool>, changes + 1> given_away{};
    };
    std::array<Partition, 2> partitions;
    std::vector<std::unique_ptr<Processor>> processors;
    std::vector<Processor*> all;
    for (std::size_t i = 0; i < processor_count; ++i) {
        processors.push_back(std::make_unique<Processor>());
        all.push_back(processors.back().get());
    }
    std::atomic<bool> done{false};
    std::atomic<unsigned> wrong{0};
    const auto run = [&](Processor& lp, unsigned number) {
        constexpr int nothing = -1;
        std::mt19937 random{number};
        std::array<std::uint64_t, 2> seen{};
        std::array<Vp, 2> vps;
        std::array<int, 2> remembered{nothing, nothing};
        while (!done) {
            const std::size_t which = random() % 2;
            Partition& partition = partitions[which];
            if (lp.presence().enter({partition.domain, seen[which]}, vps[which].view())) {
                remembered[which] = nothing;
            }
            for (auto i = random() % 50; i > 0 && !lp.kicked.exchange(false); --i) {
                if (remembered[which] == nothing) {
                    remembered[which] = partition.table.load(std::memory_order_acquire);
                }
                wrong += partition.given_away[static_cast<std::size_t>(remembered[which])] ? 1 : 0;
            }
            lp.presence().leave();
        }
    };
    const auto change = [&](Partition& partition) {
        for (int i = 0; i < changes; ++i) {
            partition.table.store(i + 1, std::memory_order_release);
            shoot_down(
                partition.domain, all, [](Processor& lp) { lp.kicked = true; },
                [] { std::this_thread::yield(); });
            partition.given_away[static_cast<std::size_t>(i)] = true;
        }
    };
    {
        std::vector<std::jthread> runners;
        for (unsigned i = 0; i < processor_count; ++i) {
            runners.emplace_back(run, std::ref(*all[i]), i);
        }
        {
            const std::jthread first{change, std::ref(partitions[0])};
            const std::jthread second{change, std::ref(partitions[1])};
        }
        done = true;
    }
    EXPECT_EQ(wrong, 0u);
}

} // namespace

} // namespace hypervisor
