// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/scheduler/run_queue.hpp"

#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <random>
#include <utility>
#include <vector>

namespace hypervisor {
namespace {

constexpr std::uint64_t bonus = 1000;
constexpr std::uint64_t lag = 4000;

TEST(RunQueue, IsEmptyAtFirst) {
    RunQueue queue{bonus, lag};
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.size(), 0u);
    EXPECT_EQ(queue.first(), nullptr);
    EXPECT_EQ(queue.take_first(), nullptr);
}

TEST(RunQueue, TakesTheOneThatHasHadLeast) {
    RunQueue queue{bonus, lag};
    std::array<ScheduleEntity, 4> entities{};
    entities[0].virtual_time = 30;
    entities[1].virtual_time = 10;
    entities[2].virtual_time = 40;
    entities[3].virtual_time = 20;
    for (ScheduleEntity& entity : entities) {
        queue.add_preempted(entity, 0);
        EXPECT_TRUE(entity.is_queued());
    }
    EXPECT_EQ(queue.size(), 4u);
    for (const std::size_t expected : {1u, 3u, 0u, 2u}) {
        EXPECT_EQ(queue.first(), &entities[expected]);
        EXPECT_EQ(queue.take_first(), &entities[expected]);
        EXPECT_FALSE(entities[expected].is_queued());
    }
    EXPECT_TRUE(queue.empty());
}

TEST(RunQueue, EqualsTakeTurns) {
    RunQueue queue{bonus, lag};
    std::array<ScheduleEntity, 3> entities{};
    for (ScheduleEntity& entity : entities) {
        queue.add_preempted(entity, 0);
    }
    for (int turn = 0; turn < 9; ++turn) {
        ScheduleEntity* const next = queue.take_first();
        EXPECT_EQ(next, &entities[static_cast<std::size_t>(turn % 3)]);
        queue.charge(*next, 5, 0);
        queue.add_preempted(*next, 0);
    }
}

/// From when it is ready until it has its turn, whatever queues it has been moved to meanwhile.
TEST(RunQueue, TimeThatOneWaitsIsTold) {
    RunQueue queue{bonus, lag};
    RunQueue other{bonus, lag};
    ScheduleEntity entity;
    queue.add_woken(entity, 100);
    queue.remove(entity);
    other.add_preempted(entity, 130);
    EXPECT_EQ(other.take_first(), &entity);
    EXPECT_EQ(entity.waited, 0u) << "it has not run yet";
    entity.end_wait(150);
    EXPECT_EQ(entity.waited, 50u);
    entity.end_wait(1000);
    EXPECT_EQ(entity.waited, 50u) << "who runs or sleeps does not wait";
    queue.add_preempted(entity, 2000);
    queue.remove(entity);
    entity.end_wait(2007);
    EXPECT_EQ(entity.waited, 57u);
    queue.add_woken(entity, 3000);
    queue.remove(entity);
    entity.end_wait(2999);
    EXPECT_EQ(entity.waited, 57u) << "another processor's counter may be behind";
}

/// One that has had all that it may have is ready all the same.
TEST(RunQueue, ParkedOnesWait) {
    RunQueue queue{bonus, lag};
    ScheduleEntity entity;
    entity.is_limited = true;
    entity.cap.set(Bandwidth::whole / 4, 1000, 1);
    entity.cap.use(250, 251);
    queue.add_preempted(entity, 251);
    ASSERT_EQ(entity.list, ScheduleEntity::List::parked);
    const std::uint64_t release = entity.release;
    queue.refresh(release);
    ASSERT_EQ(queue.take_first(), &entity);
    entity.end_wait(release + 5);
    EXPECT_EQ(entity.waited, release + 5 - 251);
}

TEST(RunQueueDeathTest, NobodyIsInItTwiceOrLeavesItTwice) {
    RunQueue queue{bonus, lag};
    ScheduleEntity entity;
    EXPECT_DEATH(queue.remove(entity), "isn't in");
    queue.add_preempted(entity, 0);
    EXPECT_DEATH(queue.add_woken(entity, 0), "queued twice");
}

TEST(RunQueue, RemovesFromAnywhere) {
    std::mt19937 random{3};
    std::array<ScheduleEntity, 8> entities{};
    RunQueue queue{bonus, lag};
    std::vector<ScheduleEntity*> expected;
    for (int step = 0; step < 5000; ++step) {
        ScheduleEntity& entity = entities[random() % entities.size()];
        if (entity.is_queued()) {
            queue.remove(entity);
            std::erase(expected, &entity);
        } else {
            entity.virtual_time = random() % 10;
            queue.add_preempted(entity, 0);
            expected.push_back(&entity);
            std::stable_sort(expected.begin(), expected.end(),
                [](const ScheduleEntity* a, const ScheduleEntity* b) {
                    return a->virtual_time < b->virtual_time;
                });
        }
        ASSERT_EQ(queue.size(), expected.size());
        const ScheduleEntity* at = queue.first();
        const ScheduleEntity* before = nullptr;
        for (const ScheduleEntity* const one : expected) {
            ASSERT_EQ(at, one);
            ASSERT_EQ(at->previous, before);
            before = at;
            at = at->next;
        }
        ASSERT_EQ(at, nullptr);
    }
}

TEST(RunQueue, SharesTheTimeEvenly) {
    constexpr std::uint64_t slice = 500;
    RunQueue queue{bonus, lag};
    std::array<ScheduleEntity, 5> entities{};
    std::array<std::uint64_t, 5> ran{};
    for (ScheduleEntity& entity : entities) {
        queue.add_woken(entity, 0);
    }
    std::mt19937 random{11};
    std::uint64_t last = 0;
    for (int i = 0; i < 20'000; ++i) {
        ScheduleEntity* const next = queue.take_first();
        // Some use up their slice, some give up the rest of it.
        const std::uint64_t ticks = next == &entities[0] ? slice : 1 + random() % slice;
        ran[static_cast<std::size_t>(next - entities.data())] += ticks;
        queue.charge(*next, ticks, 0);
        queue.add_preempted(*next, 0);
        ASSERT_GE(queue.virtual_time(), last) << "virtual time does not go back";
        last = queue.virtual_time();
        const auto [least, most] = std::minmax_element(ran.begin(), ran.end());
        ASSERT_LE(*most - *least, slice) << "no one is ahead by more than a slice";
    }
}

TEST(RunQueue, SleepingSavesUpNoMoreThanTheBonus) {
    constexpr std::uint64_t slice = 100;
    RunQueue queue{bonus, lag};
    ScheduleEntity busy;
    ScheduleEntity sleeper;
    queue.add_woken(busy, 0);
    for (int i = 0; i < 1000; ++i) {
        ScheduleEntity* const next = queue.take_first();
        ASSERT_EQ(next, &busy);
        queue.charge(busy, slice, 0);
        queue.add_preempted(busy, 0);
    }
    queue.add_woken(sleeper, 0);
    std::uint64_t in_one_go = 0;
    while (queue.first() == &sleeper) {
        ScheduleEntity* const next = queue.take_first();
        queue.charge(*next, slice, 0);
        queue.add_preempted(*next, 0);
        in_one_go += slice;
        ASSERT_LE(in_one_go, 10 * bonus) << "it hogs the processor";
    }
    EXPECT_GT(in_one_go, 0u) << "but it comes first";
    EXPECT_LE(in_one_go, bonus + 2 * slice);
}

TEST(RunQueue, AShortSleepEarnsNothingAndCostsNothing) {
    RunQueue queue{bonus, lag};
    ScheduleEntity other;
    ScheduleEntity napper;
    other.virtual_time = napper.virtual_time = 50'000;
    queue.add_woken(other, 0);
    ASSERT_EQ(queue.take_first(), &other);
    queue.charge(other, 300, 0);
    // It has run ahead of the others, and waking makes it no younger.
    napper.virtual_time = 70'000;
    queue.add_woken(napper, 0);
    EXPECT_EQ(napper.virtual_time, 70'000u);
    queue.remove(napper);
    // It is behind, but not by more than the bonus: it keeps its place.
    napper.virtual_time = queue.virtual_time() - bonus + 1;
    const std::uint64_t before = napper.virtual_time;
    queue.add_woken(napper, 0);
    EXPECT_EQ(napper.virtual_time, before);
}

TEST(RunQueue, ANewOneDoesNotCatchUpWithTheWholePast) {
    RunQueue queue{bonus, lag};
    ScheduleEntity old;
    old.virtual_time = 1'000'000'000;
    queue.add_woken(old, 0);
    ASSERT_EQ(queue.take_first(), &old);
    queue.charge(old, 1, 0);
    ScheduleEntity fresh;
    queue.add_woken(fresh, 0);
    EXPECT_GE(fresh.virtual_time + bonus, 1'000'000'000u);
    EXPECT_LE(fresh.virtual_time, old.virtual_time);
}

TEST(RunQueue, TheFirstHoursHaveNoTimeBeforeZero) {
    RunQueue queue{bonus, lag};
    ScheduleEntity entity;
    queue.add_woken(entity, 0);
    EXPECT_EQ(entity.virtual_time, 0u);
}

TEST(RunQueue, VirtualTimeMayRunOver) {
    constexpr std::uint64_t late = ~0ull - 500;
    RunQueue queue{bonus, lag};
    for (const std::uint64_t part : {1u, 2u, 3u}) {
        queue.catch_up(part << 62);
    }
    queue.catch_up(late);
    std::array<ScheduleEntity, 2> entities{};
    std::array<std::uint64_t, 2> ran{};
    for (ScheduleEntity& entity : entities) {
        entity.virtual_time = late;
        queue.add_woken(entity, 0);
    }
    for (int i = 0; i < 100; ++i) {
        ScheduleEntity* const next = queue.take_first();
        ran[static_cast<std::size_t>(next - entities.data())] += 100;
        queue.charge(*next, 100, 0);
        queue.add_preempted(*next, 0);
    }
    EXPECT_EQ(ran[0], ran[1]);
    EXPECT_LT(queue.virtual_time(), 100'000u);
}

TEST(RunQueue, WhoComesFromElsewhereIsAsFarBehindHereAndNoMoreThanSo) {
    RunQueue queue{bonus, lag};
    queue.catch_up(900'000'000);
    ScheduleEntity mover;
    for (const auto& [before, after] :
        {std::pair{900'000'250ull, 900'000'250ull}, std::pair{899'999'000ull, 899'999'000ull},
            std::pair{5ull, 900'000'000ull - lag}, std::pair{~0ull >> 1, 900'000'000ull + lag}}) {
        mover.virtual_time = before;
        queue.adopt(mover);
        EXPECT_EQ(mover.virtual_time, after);
    }
    // One with little weight is ahead by more after the same time.
    mover.weight = 10;
    mover.virtual_time = ~0ull >> 1;
    queue.adopt(mover);
    EXPECT_EQ(mover.virtual_time, 900'000'000ull + 10 * lag);
}

TEST(RunQueue, ThoseOfAQueueThatSleptCatchUpTogether) {
    RunQueue queue{bonus, lag};
    std::array<ScheduleEntity, 2> entities{};
    entities[1].virtual_time = 300;
    for (ScheduleEntity& entity : entities) {
        queue.add_woken(entity, 0);
    }
    queue.catch_up(7000);
    EXPECT_EQ(entities[0].virtual_time, 7000u);
    EXPECT_EQ(entities[1].virtual_time, 7300u);
    EXPECT_EQ(queue.least(), 7000u);
    queue.catch_up(6000);
    EXPECT_EQ(queue.virtual_time(), 7000u) << "it does not go back";
}

TEST(RunQueue, LeastIsOfThoseThatMayRun) {
    RunQueue queue{bonus, lag};
    EXPECT_EQ(queue.least(), RunQueue::nobody);
    std::array<ScheduleEntity, 3> entities{};
    entities[0].virtual_time = 50;
    entities[1].virtual_time = 20;
    entities[1].reserve.set(Bandwidth::whole, 100, 0);
    entities[2].virtual_time = 1;
    entities[2].cap.set(0, 100, 0);
    entities[2].is_limited = true;
    for (ScheduleEntity& entity : entities) {
        queue.add_preempted(entity, 0);
    }
    EXPECT_EQ(queue.least(), 20u);
    EXPECT_EQ(queue.size(), 2u);
    queue.remove(entities[1]);
    EXPECT_EQ(queue.least(), 50u);
    queue.remove(entities[0]);
    EXPECT_EQ(queue.least(), RunQueue::nobody);
    EXPECT_TRUE(queue.empty());
    queue.remove(entities[2]);
}

TEST(RunQueue, MovingBetweenQueuesStarvesNoOne) {
    constexpr std::uint64_t slice = 500;
    std::array<RunQueue, 2> queues{RunQueue{bonus, lag}, RunQueue{bonus, lag}};
    std::array<ScheduleEntity, 6> entities{};
    std::array<unsigned, 6> home{};
    std::array<std::uint64_t, 6> ran{};
    for (std::size_t i = 0; i < entities.size(); ++i) {
        home[i] = i % 2;
        queues[home[i]].add_woken(entities[i], 0);
    }
    // The second has been at work for long.
    queues[1].catch_up(std::uint64_t{1} << 40);
    std::mt19937 random{5};
    for (int round = 0; round < 30'000; ++round) {
        for (RunQueue& queue : queues) {
            ScheduleEntity* const next = queue.take_first();
            if (next == nullptr) {
                continue;
            }
            const auto i = static_cast<std::size_t>(next - entities.data());
            const std::uint64_t ticks = 1 + random() % slice;
            ran[i] += ticks;
            queue.charge(*next, ticks, 0);
            queue.add_preempted(*next, 0);
        }
        // Now and then the scheduler moves one to the other processor; three stay on each.
        if (round % 100 == 0) {
            const std::size_t a = random() % 6;
            const std::size_t b = random() % 6;
            if (home[a] != home[b]) {
                for (const std::size_t i : {a, b}) {
                    queues[home[i]].remove(entities[i]);
                    home[i] = 1 - home[i];
                    queues[home[i]].adopt(entities[i]);
                    queues[home[i]].add_woken(entities[i], 0);
                }
            }
        }
    }
    const auto [least, most] = std::minmax_element(ran.begin(), ran.end());
    EXPECT_GT(*least * 10, *most * 9) << "each gets its share within a tenth";
}

} // namespace
} // namespace hypervisor
