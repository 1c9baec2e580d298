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

TEST(TlbShootdown, TheFirstEntryHasNothingToDrop) {
    const TlbDomain domain;
    Processor lp;
    std::uint64_t seen = domain.epoch();
    EXPECT_FALSE(lp.presence().enter(domain, seen));
    lp.presence().leave();
    EXPECT_FALSE(lp.presence().enter(domain, seen));
}

TEST(TlbShootdown, WhoIsInNoGuestIsNotWaitedForAndDropsAtItsNextEntry) {
    TlbDomain domain;
    Processor lp;
    std::uint64_t seen = domain.epoch();
    shoot_down(domain, std::array{&lp}, no_kick, no_pause);
    EXPECT_TRUE(lp.presence().enter(domain, seen));
    lp.presence().leave();
    EXPECT_FALSE(lp.presence().enter(domain, seen));
}

TEST(TlbShootdown, WhoIsInAnotherPartitionsGuestIsLeftAlone) {
    TlbDomain domain;
    const TlbDomain other;
    Processor lp;
    std::uint64_t seen = 0;
    (void)lp.presence().enter(other, seen);
    shoot_down(
        domain, std::array{&lp}, [](Processor&) { FAIL() << "kicked"; }, no_pause);
}

/// One that has left and come back meanwhile has dropped what it had: it may stay as long as it
/// likes.
TEST(TlbShootdown, WhoHasComeBackSinceIsNotWaitedFor) {
    TlbDomain domain;
    Processor lp;
    std::uint64_t seen = domain.epoch();
    (void)lp.presence().enter(domain, seen);
    const auto leave_and_enter = [&](Processor& processor) {
        processor.presence().leave();
        EXPECT_TRUE(processor.presence().enter(domain, seen));
    };
    shoot_down(domain, std::array{&lp}, leave_and_enter, no_pause);
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
        std::array<int, 2> remembered{nothing, nothing};
        while (!done) {
            const std::size_t which = random() % 2;
            Partition& partition = partitions[which];
            if (lp.presence().enter(partition.domain, seen[which])) {
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
