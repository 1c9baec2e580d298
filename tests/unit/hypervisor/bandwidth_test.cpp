// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/scheduler/bandwidth.hpp"

#include <gtest/gtest.h>
#include <random>

namespace hypervisor {
namespace {

constexpr std::uint64_t period = 1000;
constexpr std::uint32_t quarter = Bandwidth::whole / 4;

Bandwidth of(std::uint32_t fraction, std::uint64_t now = 0, std::uint64_t its_period = period) {
    Bandwidth result;
    result.set(fraction, its_period, now);
    return result;
}

TEST(Bandwidth, IsGrantedAnewInEachPeriod) {
    Bandwidth one = of(quarter, 500);
    EXPECT_EQ(one.left(500), 250);
    one.use(100, 700);
    EXPECT_EQ(one.left(700), 150);
    EXPECT_EQ(one.left(1499), 150);
    EXPECT_EQ(one.left(1500), 250) << "what was not used is not saved up";
    EXPECT_EQ(one.left(987'654), 250);
}

TEST(Bandwidth, WhatWasTooMuchIsMissingLater) {
    Bandwidth one = of(quarter);
    one.use(900, 900);
    EXPECT_EQ(one.left(900), -650);
    EXPECT_EQ(one.available_at(900), 3000u) << "-650, -400, -150, 100";
    EXPECT_EQ(one.left(2999), -150);
    EXPECT_EQ(one.left(3000), 100);
    EXPECT_EQ(one.available_at(3100), 3100u);
    one.use(100, 3200);
    EXPECT_EQ(one.available_at(3200), 4000u) << "nothing is not something";
}

TEST(Bandwidth, WhatIsUsedUntilTheEndOfAPeriodIsOfThatPeriod) {
    Bandwidth one = of(quarter);
    one.use(100, 1000);
    EXPECT_EQ(one.left(1000), 250);
    one.use(300, 2000);
    EXPECT_EQ(one.left(2000), 200);
}

TEST(Bandwidth, MayBeForgiven) {
    Bandwidth one = of(quarter);
    one.use(100'000, 900);
    one.forgive();
    EXPECT_EQ(one.left(900), -250);
    EXPECT_EQ(one.available_at(900), 2000u);
    one.use(0, 2500);
    one.forgive();
    EXPECT_EQ(one.left(2500), 250);
}

TEST(Bandwidth, NothingIsNeverThere) {
    Bandwidth one = of(0);
    EXPECT_EQ(one.left(12'345), 0);
    EXPECT_EQ(one.available_at(12'345), Bandwidth::never);
    EXPECT_FALSE(one.is_due(1, false));
    EXPECT_FALSE(one.is_due(1, true));
}

TEST(Bandwidth, IsKeptOverManyPeriods) {
    constexpr std::uint64_t end = 10'000'000'000;
    std::mt19937 random{7};
    for (const std::uint32_t fraction : {quarter, Bandwidth::whole / 100, Bandwidth::whole / 3}) {
        Bandwidth one = of(fraction, 0, 1000 * period);
        std::uint64_t ran = 0;
        for (std::uint64_t now = 0; now < end;) {
            now = one.available_at(now);
            const std::uint64_t ticks = 1 + random() % 400'000; // and who looks comes late
            now += ticks;
            ran += ticks;
            one.use(ticks, now);
        }
        const double share = static_cast<double>(ran) / end;
        const double wanted = static_cast<double>(fraction) / Bandwidth::whole;
        EXPECT_NEAR(share, wanted, 0.01 * wanted);
    }
}

TEST(Bandwidth, ThePatientWaitUntilHalfOfTheRestWouldNotDo) {
    Bandwidth one = of(quarter);
    EXPECT_TRUE(one.is_due(0, false));
    EXPECT_FALSE(one.is_due(0, true));
    EXPECT_EQ(one.due_at(0, false), 0u);
    EXPECT_EQ(one.due_at(0, true), 500u);
    EXPECT_TRUE(one.is_due(500, true));
    one.use(200, 700);
    EXPECT_FALSE(one.is_due(700, true));
    EXPECT_EQ(one.due_at(700, true), 900u);
    one.use(50, 950);
    EXPECT_FALSE(one.is_due(950, true));
    EXPECT_EQ(one.due_at(950, true), 1000u) << "or may be: then one looks again";
}

} // namespace
} // namespace hypervisor
