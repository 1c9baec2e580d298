// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/scheduler/timer_queue.hpp"

#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <random>

namespace hypervisor {
namespace {

TEST(TimerQueue, IsEmptyAtFirst) {
    TimerQueue queue;
    EXPECT_EQ(queue.next_deadline(), TimerEntry::never);
    EXPECT_EQ(queue.take_due(TimerEntry::never), nullptr);
}

TEST(TimerQueue, TakesWhatIsDueTheNearestFirst) {
    TimerQueue queue;
    std::array<TimerEntry, 3> entries{};
    entries[0].deadline = 200;
    entries[1].deadline = 100;
    entries[2].deadline = 300;
    for (TimerEntry& entry : entries) {
        queue.add(entry);
        EXPECT_TRUE(entry.queued);
    }
    EXPECT_EQ(queue.next_deadline(), 100u);
    EXPECT_EQ(queue.take_due(99), nullptr);
    EXPECT_EQ(queue.take_due(100), &entries[1]) << "due at its deadline, not behind it";
    EXPECT_FALSE(entries[1].queued);
    EXPECT_EQ(queue.take_due(100), nullptr);
    EXPECT_EQ(queue.next_deadline(), 200u);
    EXPECT_EQ(queue.take_due(1000), &entries[0]);
    EXPECT_EQ(queue.take_due(1000), &entries[2]);
    EXPECT_EQ(queue.take_due(1000), nullptr);
    EXPECT_EQ(queue.next_deadline(), TimerEntry::never);
}

TEST(TimerQueue, RemovingWhatIsNotQueuedDoesNothing) {
    TimerQueue queue;
    TimerEntry entry{.deadline = 5};
    queue.remove(entry);
    queue.add(entry);
    queue.remove(entry);
    queue.remove(entry);
    EXPECT_EQ(queue.next_deadline(), TimerEntry::never);
    queue.add(entry);
    EXPECT_EQ(queue.next_deadline(), 5u);
}

TEST(TimerQueue, NeverMissesADeadline) {
    TimerQueue queue;
    std::array<TimerEntry, 10> entries{};
    std::mt19937 random{8};
    std::uint64_t now = 0;
    for (int step = 0; step < 10'000; ++step) {
        TimerEntry& entry = entries[random() % entries.size()];
        queue.remove(entry);
        if (random() % 4 != 0) {
            entry.deadline = now + random() % 50;
            queue.add(entry);
        }
        std::uint64_t nearest = TimerEntry::never;
        for (const TimerEntry& one : entries) {
            nearest = std::min(nearest, one.queued ? one.deadline : TimerEntry::never);
        }
        ASSERT_EQ(queue.next_deadline(), nearest);
        now += random() % 8;
        std::uint64_t last = 0;
        while (const TimerEntry* const due = queue.take_due(now)) {
            ASSERT_LE(due->deadline, now);
            ASSERT_GE(due->deadline, last);
            last = due->deadline;
        }
        for (const TimerEntry& one : entries) {
            ASSERT_FALSE(one.queued && one.deadline <= now);
        }
    }
}

} // namespace
} // namespace hypervisor
