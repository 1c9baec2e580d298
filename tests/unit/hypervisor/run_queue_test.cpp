// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/scheduler/run_queue.hpp"

#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace hypervisor {
namespace {

constexpr std::uint64_t bonus = 1000;

TEST(RunQueue, IsEmptyAtFirst) {
    RunQueue queue{bonus};
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.size(), 0u);
    EXPECT_EQ(queue.first(), nullptr);
    EXPECT_EQ(queue.take_first(), nullptr);
}

TEST(RunQueue, TakesTheOneThatHasHadLeast) {
    RunQueue queue{bonus};
    std::array<ScheduleEntity, 4> entities{};
    entities[0].virtual_time = 30;
    entities[1].virtual_time = 10;
    entities[2].virtual_time = 40;
    entities[3].virtual_time = 20;
    for (ScheduleEntity& entity : entities) {
        queue.add_preempted(entity);
        EXPECT_TRUE(entity.queued);
    }
    EXPECT_EQ(queue.size(), 4u);
    for (const std::size_t expected : {1u, 3u, 0u, 2u}) {
        EXPECT_EQ(queue.first(), &entities[expected]);
        EXPECT_EQ(queue.take_first(), &entities[expected]);
        EXPECT_FALSE(entities[expected].queued);
    }
    EXPECT_TRUE(queue.empty());
}

TEST(RunQueue, EqualsTakeTurns) {
    RunQueue queue{bonus};
    std::array<ScheduleEntity, 3> entities{};
    for (ScheduleEntity& entity : entities) {
        queue.add_preempted(entity);
    }
    for (int turn = 0; turn < 9; ++turn) {
        ScheduleEntity* const next = queue.take_first();
        EXPECT_EQ(next, &entities[static_cast<std::size_t>(turn % 3)]);
        queue.charge(*next, 5);
        queue.add_preempted(*next);
    }
}

TEST(RunQueue, RemovesFromAnywhere) {
    std::mt19937 random{3};
    std::array<ScheduleEntity, 8> entities{};
    RunQueue queue{bonus};
    std::vector<ScheduleEntity*> expected;
    for (int step = 0; step < 5000; ++step) {
        ScheduleEntity& entity = entities[random() % entities.size()];
        if (entity.queued) {
            queue.remove(entity);
            std::erase(expected, &entity);
        } else {
            entity.virtual_time = random() % 10;
            queue.add_preempted(entity);
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
    RunQueue queue{bonus};
    std::array<ScheduleEntity, 5> entities{};
    std::array<std::uint64_t, 5> ran{};
    for (ScheduleEntity& entity : entities) {
        queue.add_woken(entity);
    }
    std::mt19937 random{11};
    std::uint64_t last = 0;
    for (int i = 0; i < 20'000; ++i) {
        ScheduleEntity* const next = queue.take_first();
        // Some use up their slice, some give up the rest of it.
        const std::uint64_t ticks = next == &entities[0] ? slice : 1 + random() % slice;
        ran[static_cast<std::size_t>(next - entities.data())] += ticks;
        queue.charge(*next, ticks);
        queue.add_preempted(*next);
        ASSERT_GE(queue.virtual_time(), last) << "virtual time does not go back";
        last = queue.virtual_time();
        const auto [least, most] = std::minmax_element(ran.begin(), ran.end());
        ASSERT_LE(*most - *least, slice) << "no one is ahead by more than a slice";
    }
}

TEST(RunQueue, SleepingSavesUpNoMoreThanTheBonus) {
    constexpr std::uint64_t slice = 100;
    RunQueue queue{bonus};
    ScheduleEntity busy;
    ScheduleEntity sleeper;
    queue.add_woken(busy);
    for (int i = 0; i < 1000; ++i) {
        ScheduleEntity* const next = queue.take_first();
        ASSERT_EQ(next, &busy);
        queue.charge(busy, slice);
        queue.add_preempted(busy);
    }
    queue.add_woken(sleeper);
    std::uint64_t in_one_go = 0;
    while (queue.first() == &sleeper) {
        ScheduleEntity* const next = queue.take_first();
        queue.charge(*next, slice);
        queue.add_preempted(*next);
        in_one_go += slice;
        ASSERT_LE(in_one_go, 10 * bonus) << "it hogs the processor";
    }
    EXPECT_GT(in_one_go, 0u) << "but it comes first";
    EXPECT_LE(in_one_go, bonus + 2 * slice);
}

TEST(RunQueue, AShortSleepEarnsNothingAndCostsNothing) {
    RunQueue queue{bonus};
    ScheduleEntity other;
    ScheduleEntity napper;
    other.virtual_time = napper.virtual_time = 50'000;
    queue.add_woken(other);
    ASSERT_EQ(queue.take_first(), &other);
    queue.charge(other, 300);
    // It has run ahead of the others, and waking makes it no younger.
    napper.virtual_time = 70'000;
    queue.add_woken(napper);
    EXPECT_EQ(napper.virtual_time, 70'000u);
    queue.remove(napper);
    // It is behind, but not by more than the bonus: it keeps its place.
    napper.virtual_time = queue.virtual_time() - bonus + 1;
    const std::uint64_t before = napper.virtual_time;
    queue.add_woken(napper);
    EXPECT_EQ(napper.virtual_time, before);
}

TEST(RunQueue, ANewOneDoesNotCatchUpWithTheWholePast) {
    RunQueue queue{bonus};
    ScheduleEntity old;
    old.virtual_time = 1'000'000'000;
    queue.add_woken(old);
    ASSERT_EQ(queue.take_first(), &old);
    queue.charge(old, 1);
    ScheduleEntity fresh;
    queue.add_woken(fresh);
    EXPECT_GE(fresh.virtual_time + bonus, 1'000'000'000u);
    EXPECT_LE(fresh.virtual_time, old.virtual_time);
}

TEST(RunQueue, TheFirstHoursHaveNoTimeBeforeZero) {
    RunQueue queue{bonus};
    ScheduleEntity entity;
    queue.add_woken(entity);
    EXPECT_EQ(entity.virtual_time, 0u);
}

TEST(RunQueue, AdoptsFromAQueueOfAnotherTime) {
    RunQueue young{bonus};
    RunQueue old{bonus};
    ScheduleEntity clock;
    clock.virtual_time = 900'000'000;
    old.add_woken(clock);
    ASSERT_EQ(old.take_first(), &clock);
    ASSERT_EQ(old.virtual_time(), 900'000'000u);

    ScheduleEntity mover;
    mover.virtual_time = 900'000'250;
    young.adopt(mover, old);
    EXPECT_EQ(mover.virtual_time, young.virtual_time() + 250) << "as far ahead there as here";
    mover.virtual_time = 700;
    old.adopt(mover, young);
    EXPECT_EQ(mover.virtual_time, 900'000'700u);
    // Who is behind takes no debt along.
    mover.virtual_time = 5;
    young.adopt(mover, old);
    EXPECT_GE(mover.virtual_time, young.virtual_time());
    EXPECT_LE(mover.virtual_time, young.virtual_time() + bonus);
}

TEST(RunQueue, MovingBetweenQueuesStarvesNoOne) {
    constexpr std::uint64_t slice = 500;
    std::array<RunQueue, 2> queues{RunQueue{bonus}, RunQueue{bonus}};
    std::array<ScheduleEntity, 6> entities{};
    std::array<unsigned, 6> home{};
    std::array<std::uint64_t, 6> ran{};
    for (std::size_t i = 0; i < entities.size(); ++i) {
        home[i] = i % 2;
        queues[home[i]].add_woken(entities[i]);
    }
    // The second has been at work for long.
    queues[1].charge(entities[1], 0);
    ScheduleEntity age;
    age.virtual_time = 1ull << 40;
    RunQueue& second = queues[1];
    for (const std::size_t i : {1u, 3u, 5u}) {
        second.remove(entities[i]);
        entities[i].virtual_time = 1ull << 40;
        second.add_preempted(entities[i]);
    }
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
            queue.charge(*next, ticks);
            // Now and then the scheduler moves one to the other processor; three stay on each.
            queue.add_preempted(*next);
        }
        if (round % 10 == 0) {
            const std::size_t a = random() % 6;
            const std::size_t b = random() % 6;
            if (home[a] != home[b]) {
                for (const std::size_t i : {a, b}) {
                    RunQueue& from = queues[home[i]];
                    RunQueue& to = queues[1 - home[i]];
                    from.remove(entities[i]);
                    to.adopt(entities[i], from);
                    to.add_woken(entities[i]);
                    home[i] = 1 - home[i];
                }
            }
        }
    }
    const auto [least, most] = std::minmax_element(ran.begin(), ran.end());
    EXPECT_GT(*least * 10, *most * 9) << "each gets its share within a tenth";
}

} // namespace
} // namespace hypervisor
