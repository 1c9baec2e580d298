// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/apic/virtual_apic_timer.hpp"

#include <array>
#include <gtest/gtest.h>

namespace hypervisor {
namespace {

using Clock = ApicTimerDeadline::Clock;

ApicTime bus(std::uint64_t ticks) {
    return {.bus = ticks, .tsc = 0};
}

TEST(VirtualApicTimer, DividesByWhatTheRegisterSays) {
    struct Case {
        std::uint32_t configuration;
        std::uint64_t divisor;
    };
    constexpr std::array cases{Case{0b0000, 2}, Case{0b0001, 4}, Case{0b0010, 8}, Case{0b0011, 16},
        Case{0b1000, 32}, Case{0b1001, 64}, Case{0b1010, 128}, Case{0b1011, 1}, Case{0b0100, 2}};
    for (const auto& [configuration, divisor] : cases) {
        VirtualApicTimer timer;
        timer.set_divide_configuration(configuration, bus(0));
        timer.set_initial_count(10, bus(1000));
        EXPECT_EQ(timer.deadline(), (ApicTimerDeadline{Clock::bus, 1000 + 10 * divisor}));
        EXPECT_EQ(timer.divide_configuration(), configuration & 0b1011);
    }
}

TEST(VirtualApicTimer, CountsDownOnce) {
    VirtualApicTimer timer;
    timer.set_initial_count(10, bus(100));
    EXPECT_EQ(timer.current_count(bus(100)), 10U);
    EXPECT_EQ(timer.current_count(bus(101)), 10U);
    EXPECT_EQ(timer.current_count(bus(102)), 9U);
    EXPECT_EQ(timer.current_count(bus(119)), 1U);
    EXPECT_FALSE(timer.expire(bus(119)));
    EXPECT_EQ(timer.current_count(bus(120)), 0U);
    EXPECT_TRUE(timer.expire(bus(120)));
    EXPECT_FALSE(timer.expire(bus(5000)));
    EXPECT_FALSE(timer.deadline());
    EXPECT_EQ(timer.current_count(bus(5000)), 0U);
    EXPECT_EQ(timer.initial_count(), 10U);
}

TEST(VirtualApicTimer, KeepsToItsGridHoweverLateItIsServed) {
    VirtualApicTimer timer;
    timer.set_mode(ApicTimerMode::periodic);
    timer.set_divide_configuration(0b1011, bus(0));
    timer.set_initial_count(100, bus(7));
    EXPECT_TRUE(timer.expire(bus(107)));
    EXPECT_EQ(timer.deadline()->at, 207U);
    EXPECT_TRUE(timer.expire(bus(261)));
    EXPECT_EQ(timer.deadline()->at, 307U);
    EXPECT_EQ(timer.current_count(bus(261)), 46U);
    // Three periods at once, then a very long time.
    EXPECT_TRUE(timer.expire(bus(599)));
    EXPECT_FALSE(timer.expire(bus(599)));
    EXPECT_EQ(timer.deadline()->at, 607U);
    EXPECT_TRUE(timer.expire(bus(1'000'000'000'050)));
    EXPECT_FALSE(timer.expire(bus(1'000'000'000'050)));
    EXPECT_EQ(timer.deadline()->at, 1'000'000'000'107U);
}

TEST(VirtualApicTimer, ShowsThePhaseOfAPeriodThatIsNotServedYet) {
    VirtualApicTimer timer;
    timer.set_mode(ApicTimerMode::periodic);
    timer.set_divide_configuration(0b1011, bus(0));
    timer.set_initial_count(100, bus(0));
    EXPECT_EQ(timer.current_count(bus(100)), 100U);
    EXPECT_EQ(timer.current_count(bus(350)), 50U);
    EXPECT_TRUE(timer.expire(bus(350)));
    EXPECT_EQ(timer.current_count(bus(350)), 50U);
}

TEST(VirtualApicTimer, GoesOnAtTheNewPace) {
    VirtualApicTimer timer;
    timer.set_divide_configuration(0b1011, bus(0));
    timer.set_initial_count(100, bus(0));
    timer.set_divide_configuration(0b0000, bus(40));
    EXPECT_EQ(timer.current_count(bus(40)), 60U);
    EXPECT_EQ(timer.deadline()->at, 160U);
}

TEST(VirtualApicTimer, StopsAtACountOfZero) {
    VirtualApicTimer timer;
    timer.set_initial_count(100, bus(0));
    timer.set_initial_count(0, bus(10));
    EXPECT_FALSE(timer.deadline());
    EXPECT_FALSE(timer.expire(bus(1000)));
}

TEST(VirtualApicTimer, ChangesBetweenOneShotAndPeriodicWhileItRuns) {
    VirtualApicTimer timer;
    timer.set_divide_configuration(0b1011, bus(0));
    timer.set_initial_count(100, bus(0));
    timer.set_mode(ApicTimerMode::periodic);
    EXPECT_TRUE(timer.expire(bus(100)));
    EXPECT_EQ(timer.deadline()->at, 200U);
    timer.set_mode(ApicTimerMode::one_shot);
    EXPECT_TRUE(timer.expire(bus(200)));
    EXPECT_FALSE(timer.deadline());
    timer.set_mode(ApicTimerMode::periodic);
    EXPECT_FALSE(timer.deadline());
}

TEST(VirtualApicTimer, HasADeadlineOnTheTimeStampCounter) {
    VirtualApicTimer timer;
    timer.set_tsc_deadline(500);
    EXPECT_EQ(timer.tsc_deadline(), 0U);
    timer.set_initial_count(100, bus(0));
    timer.set_mode(ApicTimerMode::tsc_deadline);
    EXPECT_FALSE(timer.deadline()) << "changing to this mode stops the count";
    timer.set_tsc_deadline(500);
    EXPECT_EQ(timer.tsc_deadline(), 500U);
    EXPECT_EQ(timer.deadline(), (ApicTimerDeadline{Clock::tsc, 500}));
    timer.set_initial_count(7, bus(0));
    EXPECT_EQ(timer.initial_count(), 100U);
    EXPECT_EQ(timer.current_count(bus(0)), 0U);
    EXPECT_FALSE(timer.expire({.bus = 10000, .tsc = 499}));
    EXPECT_TRUE(timer.expire({.bus = 0, .tsc = 500}));
    EXPECT_EQ(timer.tsc_deadline(), 0U);
    timer.set_tsc_deadline(900);
    timer.set_tsc_deadline(0);
    EXPECT_FALSE(timer.deadline());
    timer.set_tsc_deadline(900);
    timer.set_mode(ApicTimerMode::one_shot);
    EXPECT_FALSE(timer.deadline());
}

TEST(VirtualApicTimer, ContinuesASavedCount) {
    VirtualApicTimer timer;
    timer.set_mode(ApicTimerMode::periodic);
    timer.restore(0b1011, 100, 30, bus(1000));
    EXPECT_TRUE(timer.expire(bus(1030)));
    EXPECT_EQ(timer.deadline()->at, 1130U);
    timer.restore(0b1011, 100, 1000, bus(2000));
    EXPECT_EQ(timer.deadline()->at, 2100U) << "not more than the initial count";
    timer.set_mode(ApicTimerMode::tsc_deadline);
    timer.set_tsc_deadline(77);
    timer.restore(0, 50, 20, bus(3000));
    EXPECT_EQ(timer.initial_count(), 50U);
    EXPECT_EQ(timer.tsc_deadline(), 77U);
}

TEST(VirtualApicTimer, DoesNotWrapAtTheEndOfTime) {
    VirtualApicTimer timer;
    const std::uint64_t end = ~std::uint64_t{0};
    timer.set_initial_count(0xFFFFFFFF, bus(end - 5));
    EXPECT_EQ(timer.deadline()->at, end);
    EXPECT_FALSE(timer.expire(bus(end - 1)));
}

} // namespace
} // namespace hypervisor
