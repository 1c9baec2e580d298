// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/synic/synthetic_timers.hpp"

#include <gtest/gtest.h>
#include <vector>

namespace hypervisor {
namespace {

// HV_X64_MSR_STIMER_CONFIG_CONTENTS, bits from the TLFS.
constexpr std::uint64_t enable = 1 << 0;
constexpr std::uint64_t periodic = 1 << 1;
constexpr std::uint64_t lazy = 1 << 2;
constexpr std::uint64_t auto_enable = 1 << 3;
constexpr std::uint64_t direct_mode = 1 << 12;
constexpr std::uint64_t vector(std::uint64_t number) {
    return number << 4;
}
constexpr std::uint64_t sint(std::uint64_t number) {
    return number << 16;
}
constexpr std::uint64_t never = SyntheticTimers::never;
constexpr std::uint64_t partition = 42;

hv_timer_message_payload payload(const SyntheticTimers::Expiration& expiration) {
    hv_timer_message_payload value;
    std::memcpy(&value, expiration.message->payload.data(), sizeof value);
    return value;
}

class SyntheticTimersTest : public testing::Test {
protected:
    void SetUp() override { timers_.reset(); }
    SyntheticTimers timers_{};
};

TEST_F(SyntheticTimersTest, AreOffAtFirst) {
    for (unsigned timer = 0; timer < HV_SYNIC_STIMER_COUNT; ++timer) {
        EXPECT_EQ(timers_.config(timer), 0u);
        EXPECT_EQ(timers_.count(timer), 0u);
    }
    EXPECT_EQ(timers_.deadline(), never);
    EXPECT_FALSE(timers_.expire(never - 1, partition));
}

TEST_F(SyntheticTimersTest, OneShotExpiresAtItsTimeAndTurnsOff) {
    ASSERT_TRUE(timers_.set_config(1, enable | sint(4), 100));
    EXPECT_EQ(timers_.deadline(), never) << "a count of zero never expires";
    timers_.set_count(1, 5000, 100);
    ASSERT_TRUE(timers_.set_config(1, enable | sint(4), 100));
    EXPECT_EQ(timers_.deadline(), 5000u) << "a point in time, not a span";
    EXPECT_FALSE(timers_.expire(4999, partition));
    const auto expired = timers_.expire(5003, partition);
    ASSERT_TRUE(expired);
    EXPECT_FALSE(expired->direct);
    EXPECT_EQ(expired->sint, 4);
    ASSERT_NE(expired->message, nullptr);
    EXPECT_EQ(expired->message->type, std::uint32_t{HVMSG_TIMER_EXPIRED});
    EXPECT_EQ(expired->message->payload_size, 24);
    EXPECT_EQ(payload(*expired).timer_index, 1u);
    EXPECT_EQ(std::uint64_t{payload(*expired).expiration_time}, 5000u);
    EXPECT_EQ(std::uint64_t{payload(*expired).delivery_time}, 5003u);
    EXPECT_FALSE(timers_.expire(6000, partition));
    EXPECT_EQ(timers_.config(1), sint(4)) << "the enable bit is clear";
    EXPECT_EQ(timers_.deadline(), never);
}

TEST_F(SyntheticTimersTest, OneShotInThePastIsDueAtOnce) {
    ASSERT_TRUE(timers_.set_config(0, auto_enable | sint(2), 1000));
    timers_.set_count(0, 10, 1000);
    EXPECT_LE(timers_.deadline(), 1000u);
    EXPECT_TRUE(timers_.expire(1000, partition));
    EXPECT_FALSE(timers_.expire(1000, partition));
}

TEST_F(SyntheticTimersTest, AutoEnableStartsWithTheCount) {
    ASSERT_TRUE(timers_.set_config(0, auto_enable | sint(2), 0));
    EXPECT_EQ(timers_.deadline(), never);
    timers_.set_count(0, 700, 0);
    EXPECT_EQ(timers_.config(0), enable | auto_enable | sint(2));
    EXPECT_EQ(timers_.deadline(), 700u);
    ASSERT_TRUE(timers_.expire(700, partition));
    EXPECT_EQ(timers_.config(0), auto_enable | sint(2));
    timers_.set_count(0, 900, 700);
    EXPECT_EQ(timers_.deadline(), 900u);
    timers_.set_count(0, 0, 800);
    EXPECT_EQ(timers_.deadline(), never) << "zero stops it";
    EXPECT_EQ(timers_.config(0) & enable, 0u);
}

TEST_F(SyntheticTimersTest, WithoutAutoEnableTheCountStartsNothing) {
    ASSERT_TRUE(timers_.set_config(0, sint(2), 0));
    timers_.set_count(0, 700, 0);
    EXPECT_EQ(timers_.deadline(), never);
    EXPECT_EQ(timers_.count(0), 700u);
    ASSERT_TRUE(timers_.set_config(0, enable | sint(2), 0));
    EXPECT_EQ(timers_.deadline(), 700u);
    ASSERT_TRUE(timers_.set_config(0, sint(2), 0));
    EXPECT_EQ(timers_.deadline(), never);
}

TEST_F(SyntheticTimersTest, PeriodicKeepsToItsGrid) {
    timers_.set_count(3, 100, 0);
    ASSERT_TRUE(timers_.set_config(3, enable | periodic | sint(2), 1007));
    EXPECT_EQ(timers_.deadline(), 1107u);
    const auto first = timers_.expire(1110, partition);
    ASSERT_TRUE(first);
    EXPECT_EQ(std::uint64_t{payload(*first).expiration_time}, 1107u);
    EXPECT_EQ(timers_.deadline(), 1207u) << "late service does not move it";
    ASSERT_TRUE(timers_.expire(1207, partition));
    EXPECT_EQ(timers_.deadline(), 1307u);
    // Far too late: one expiration stands for all that were missed.
    ASSERT_TRUE(timers_.expire(1'000'000, partition));
    EXPECT_FALSE(timers_.expire(1'000'000, partition));
    EXPECT_EQ(timers_.deadline(), 1'000'007u);
    EXPECT_EQ(timers_.config(3), enable | periodic | sint(2)) << "it stays on";
}

TEST_F(SyntheticTimersTest, APeriodBeyondTimeNeverEnds) {
    for (const std::uint64_t period :
        {never, never - 1, never - 999, never - 1000, std::uint64_t{1} << 63}) {
        timers_.reset();
        ASSERT_TRUE(timers_.set_config(0, auto_enable | periodic | sint(2), 1000));
        timers_.set_count(0, period, 1000);
        EXPECT_GE(timers_.deadline(), 1ull << 63) << period;
        EXPECT_FALSE(timers_.expire(2000, partition)) << period;
    }
    // Nor does one that comes to such a time step by step.
    timers_.reset();
    timers_.set_count(0, 1ull << 63, 0);
    ASSERT_TRUE(timers_.set_config(0, enable | periodic | sint(2), 1000));
    ASSERT_TRUE(timers_.expire((1ull << 63) + 5000, partition));
    EXPECT_FALSE(timers_.expire((1ull << 63) + 5000, partition));
}

TEST_F(SyntheticTimersTest, TheShortestPeriodExpiresOnceAtATime) {
    timers_.set_count(0, 1, 0);
    ASSERT_TRUE(timers_.set_config(0, enable | periodic | sint(2), 0));
    for (std::uint64_t now = 1; now < 5000; now += 17) {
        ASSERT_TRUE(timers_.expire(now, partition));
        ASSERT_FALSE(timers_.expire(now, partition));
        ASSERT_EQ(timers_.deadline(), now + 1);
    }
}

TEST_F(SyntheticTimersTest, DirectModeRaisesItsVector) {
    timers_.set_count(2, 50, 0);
    ASSERT_TRUE(timers_.set_config(2, enable | direct_mode | vector(0xec), 0));
    const auto expired = timers_.expire(50, partition);
    ASSERT_TRUE(expired);
    EXPECT_TRUE(expired->direct);
    EXPECT_EQ(expired->vector, 0xec);
    EXPECT_EQ(expired->message, nullptr);
    EXPECT_FALSE(timers_.set_config(2, enable | direct_mode | vector(15), 0));
    EXPECT_TRUE(timers_.set_config(2, enable | direct_mode | vector(16), 0));
}

TEST_F(SyntheticTimersTest, RefusesReservedBitsAndKeepsWhatWas) {
    ASSERT_TRUE(timers_.set_config(0, lazy | sint(2), 0));
    for (const unsigned bit : {13u, 14u, 15u, 20u, 31u, 63u}) {
        EXPECT_FALSE(timers_.set_config(0, sint(3) | (1ull << bit), 0));
    }
    EXPECT_EQ(timers_.config(0), lazy | sint(2));
}

TEST_F(SyntheticTimersTest, ATimerWithoutASintStaysOff) {
    timers_.set_count(0, 50, 0);
    ASSERT_TRUE(timers_.set_config(0, enable | sint(0), 0));
    EXPECT_EQ(timers_.config(0) & enable, 0u);
    EXPECT_EQ(timers_.deadline(), never);
}

TEST_F(SyntheticTimersTest, TheNearestOfFour) {
    for (unsigned timer = 0; timer < 4; ++timer) {
        ASSERT_TRUE(timers_.set_config(timer, auto_enable | sint(2), 0));
        timers_.set_count(timer, 400 - 100 * timer, 0);
    }
    EXPECT_EQ(timers_.deadline(), 100u);
    std::vector<unsigned> due;
    while (const auto expired = timers_.expire(300, partition)) {
        due.push_back(payload(*expired).timer_index);
    }
    EXPECT_EQ(due, (std::vector<unsigned>{1, 2, 3}));
    EXPECT_EQ(timers_.deadline(), 400u);
}

TEST_F(SyntheticTimersTest, AMessageThatWaitsIsNotChanged) {
    timers_.set_count(0, 100, 0);
    ASSERT_TRUE(timers_.set_config(0, enable | periodic | sint(2), 0));
    const auto first = timers_.expire(100, partition);
    ASSERT_TRUE(first);
    first->message->queued = true; // the slot was full
    const auto second = timers_.expire(200, partition);
    ASSERT_TRUE(second);
    EXPECT_EQ(second->message, first->message);
    EXPECT_EQ(std::uint64_t{payload(*second).expiration_time}, 100u);
}

TEST_F(SyntheticTimersTest, RestoredTimersGoOn) {
    timers_.set_count(0, 5000, 0);
    ASSERT_TRUE(timers_.set_config(0, enable | sint(2), 0));
    timers_.set_count(1, 100, 0);
    ASSERT_TRUE(timers_.set_config(1, enable | periodic | sint(3), 1007));
    timers_.set_count(2, 70, 0);
    ASSERT_TRUE(timers_.set_config(2, direct_mode | vector(0x40), 0));
    hv_synthetic_timers_state state{};
    timers_.save(state);

    SyntheticTimers copy;
    copy.reset();
    ASSERT_TRUE(copy.restore(state, 1050));
    for (unsigned timer = 0; timer < 4; ++timer) {
        EXPECT_EQ(copy.config(timer), timers_.config(timer));
        EXPECT_EQ(copy.count(timer), timers_.count(timer));
    }
    EXPECT_EQ(copy.deadline(), 1107u) << "on the grid of before";
    ASSERT_TRUE(copy.expire(1107, partition));
    EXPECT_EQ(copy.deadline(), 1207u);
    hv_synthetic_timers_state again{};
    timers_.save(again);
    EXPECT_EQ(std::memcmp(&again, &state, sizeof state), 0);
}

TEST_F(SyntheticTimersTest, AMessageThatWaitsSurvivesSaveAndRestore) {
    ASSERT_TRUE(timers_.set_config(0, auto_enable | sint(2), 0));
    timers_.set_count(0, 500, 0);
    const auto expired = timers_.expire(510, partition);
    ASSERT_TRUE(expired);
    expired->message->queued = true;
    hv_synthetic_timers_state state{};
    timers_.save(state);
    EXPECT_EQ(state.timers[0].undelivered_message_pending, 1u);

    SyntheticTimers copy;
    copy.reset();
    ASSERT_TRUE(copy.restore(state, 600));
    EXPECT_LE(copy.deadline(), 600u) << "it is due now";
    hv_synthetic_timers_state again{};
    copy.save(again);
    EXPECT_EQ(std::memcmp(&again, &state, sizeof state), 0) << "saved before it ran";
    const auto delivered = copy.expire(600, partition);
    ASSERT_TRUE(delivered);
    EXPECT_EQ(delivered->sint, 2);
    EXPECT_EQ(std::uint64_t{payload(*delivered).expiration_time}, 500u);
    EXPECT_FALSE(copy.expire(10'000, partition)) << "once";
}

TEST_F(SyntheticTimersTest, RefusesAStateThatCannotBe) {
    hv_synthetic_timers_state state{};
    state.timers[0].count = 77;
    state.timers[3].config = 1ull << 40;
    hv_synthetic_timers_state before{};
    timers_.save(before);
    EXPECT_FALSE(timers_.restore(state, 0));
    hv_synthetic_timers_state after{};
    timers_.save(after);
    EXPECT_EQ(std::memcmp(&before, &after, sizeof before), 0) << "all of it or nothing";
    // Whatever else is in it stops nothing.
    state = {};
    for (hv_stimer_state& timer : state.timers) {
        timer.config = enable | periodic | sint(2);
    }
    state.timers[0].count = 1;
    state.timers[0].adjustment = 1;
    state.timers[1].count = never;
    state.timers[1].adjustment = never - 1;
    state.timers[2].config = 0;
    state.timers[2].undelivered_message_pending = 1;
    ASSERT_TRUE(timers_.restore(state, 1'000'000));
    int expirations = 0;
    while (timers_.expire(1'000'000, partition) && expirations < 100) {
        ++expirations;
    }
    EXPECT_LE(expirations, 3);
}

} // namespace
} // namespace hypervisor
