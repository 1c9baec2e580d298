// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/partition_clock.hpp"

#include <gtest/gtest.h>
#include <limits>

namespace hypervisor {

// A machine whose counter goes at 40 MHz: four ticks are 100 ns.
namespace clock {
std::uint64_t reference_scale() {
    return std::uint64_t{1} << 62;
}
std::uint64_t from_100ns(std::uint64_t units) {
    return 4 * units;
}
} // namespace clock

namespace {

constexpr std::uint64_t never = ~std::uint64_t{0};

TEST(ReferenceTimeTest, RunsWithTheCounter) {
    EXPECT_EQ(counter_at(0, 0), 0U);
    EXPECT_EQ(counter_at(1000, 0), 1000U);
    EXPECT_EQ(counter_at(never, 0), never);
}

TEST(ReferenceTimeTest, IsAheadOfIt) {
    EXPECT_EQ(counter_at(1000, 300), 700U);
    EXPECT_EQ(counter_at(300, 300), 0U);
    EXPECT_EQ(counter_at(100, 300), 0U) << "before it began";
    EXPECT_EQ(counter_at(never, 300), never - 300);
}

/// As after a pause.
TEST(ReferenceTimeTest, IsBehindIt) {
    EXPECT_EQ(counter_at(1000, -300), 1300U);
    EXPECT_EQ(counter_at(0, -300), 300U);
    EXPECT_EQ(counter_at(never - 300, -300), never);
    EXPECT_EQ(counter_at(never - 100, -300), never) << "beyond its end";
    EXPECT_EQ(counter_at(0, std::numeric_limits<std::int64_t>::min()), std::uint64_t{1} << 63);
}

TEST(PartitionClock, BeginsAtZero) {
    const PartitionClock clock{1000};
    EXPECT_EQ(clock.ticks(1400), 400U);
    EXPECT_EQ(clock.reference_time(1400), 100U);
    EXPECT_EQ(clock.hardware_offset(0) + 1400, 400U);
    EXPECT_EQ(clock.host_at_ticks(400), 1400U);
    EXPECT_EQ(clock.host_at_reference_time(100), 1400U);
    EXPECT_EQ(clock.host_at_reference_time(never), never);
    EXPECT_EQ(clock.host_at_ticks(never), never);
    EXPECT_EQ(clock.page_offset(), 0U);
}

TEST(PartitionClock, StandsStillAndGoesOnWhereItWas) {
    PartitionClock clock{0};
    EXPECT_FALSE(clock.stands_still());
    clock.stop(4000);
    EXPECT_TRUE(clock.stands_still());
    EXPECT_EQ(clock.ticks(9000), 4000U);
    EXPECT_EQ(clock.reference_time(9000), 1000U);
    EXPECT_EQ(clock.host_at_ticks(5000), never) << "nothing is due until it goes on";
    EXPECT_EQ(clock.host_at_reference_time(0), never);
    clock.go_on(10000);
    EXPECT_FALSE(clock.stands_still());
    EXPECT_EQ(clock.ticks(10000), 4000U);
    EXPECT_EQ(clock.ticks(10400), 4400U);
    EXPECT_EQ(clock.reference_time(10400), 1100U);
    EXPECT_EQ(clock.host_at_reference_time(1100), 10400U);
    EXPECT_EQ(clock.hardware_offset(0) + 10400, 4400U);
}

TEST(PartitionClock, ReferenceTimeIsSet) {
    PartitionClock clock{0};
    clock.set_reference_time(5000, 4000);
    EXPECT_EQ(clock.reference_time(4000), 5000U);
    EXPECT_EQ(clock.reference_time(4400), 5100U);
    EXPECT_EQ(clock.host_at_reference_time(5100), 4400U);
    EXPECT_EQ(clock.page_offset(), 4000U);
    clock.set_reference_time(100, 4400); // back
    EXPECT_EQ(clock.host_at_reference_time(200), 4800U);
    EXPECT_EQ(clock.host_at_reference_time(0), 4000U) << "what is past is due";
}

TEST(PartitionClock, GoesOnWhenCountersAreSet) {
    PartitionClock clock{0};
    // At 4000 all counters are set to 400.
    constexpr std::uint64_t offset = 400 - std::uint64_t{4000};
    clock.follow(offset, 4000);
    EXPECT_EQ(clock.ticks(4000), 4000U);
    EXPECT_EQ(clock.hardware_offset(clock.tsc_offset()) + 4000, 400U);
    EXPECT_EQ(clock.reference_time(4000), 1000U);
    EXPECT_EQ(clock.reference_time(4400), 1100U);
    EXPECT_EQ(clock.host_at_reference_time(1100), 4400U);
    EXPECT_EQ(clock.host_at_counter(800, offset), 4400U);
    // What the guest makes of the page: its counter in 100 ns, and the offset.
    EXPECT_EQ(*clock.page_offset() + 400 / 4, 1000U);
}

TEST(PartitionClock, APageTellsNothingWhileCountersDiffer) {
    PartitionClock clock{0};
    clock.follow(std::nullopt, 4000);
    EXPECT_EQ(clock.page_offset(), std::nullopt);
    EXPECT_EQ(clock.reference_time(4000), 1000U);
    clock.follow(8000, 4400);
    EXPECT_EQ(clock.reference_time(4400), 1100U);
    EXPECT_EQ(*clock.page_offset() + (4400 + 8000) / 4, 1100U);
}

TEST(PartitionClock, WhatACounterHasPassedIsDue) {
    PartitionClock clock{0};
    clock.follow(std::uint64_t{1} << 40, 4000);
    EXPECT_EQ(clock.host_at_counter(5, std::uint64_t{1} << 40), 0U);
    EXPECT_EQ(clock.reference_time(8000), 2000U);
    EXPECT_EQ(clock.host_at_reference_time(2000), 8000U);
}

} // namespace
} // namespace hypervisor
