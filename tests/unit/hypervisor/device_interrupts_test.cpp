// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/apic/device_interrupts.hpp"

#include <gtest/gtest.h>
#include <random>
#include <set>
#include <vector>

namespace hypervisor {
namespace {

DeviceInterrupts::Target target(std::uint8_t vector, bool level = false) {
    return {.vp = nullptr, .vector = vector, .level = level};
}

TEST(DeviceInterrupts, TakesTheSameNumberIfItIsFree) {
    DeviceInterrupts interrupts;
    EXPECT_EQ(interrupts.map(target(0x41, true)), 0x41);
    const auto found = interrupts.find(0x41);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->vector, 0x41);
    EXPECT_TRUE(found->level);
    const auto other = interrupts.map(target(0x41));
    ASSERT_TRUE(other);
    EXPECT_NE(*other, 0x41);
    EXPECT_EQ(interrupts.find(*other)->vector, 0x41);
    EXPECT_FALSE(interrupts.find(*other)->level);
}

TEST(DeviceInterrupts, LeavesTheHypervisorsVectorsAlone) {
    DeviceInterrupts interrupts;
    for (const std::uint8_t vector :
        {std::uint8_t{0x10}, std::uint8_t{0x1f}, physical_apic::timer_vector,
            physical_apic::kick_vector, physical_apic::spurious_vector}) {
        const auto physical = interrupts.map(target(vector));
        ASSERT_TRUE(physical);
        EXPECT_GE(*physical, physical_apic::first_device_vector);
        EXPECT_LE(*physical, physical_apic::last_device_vector);
        EXPECT_EQ(interrupts.find(*physical)->vector, vector);
    }
}

TEST(DeviceInterrupts, RunsOutOnlyWhenAllAreTaken) {
    DeviceInterrupts interrupts;
    std::set<unsigned> given;
    constexpr unsigned all =
        physical_apic::last_device_vector - physical_apic::first_device_vector + 1;
    for (unsigned i = 0; i < all; ++i) {
        const auto physical = interrupts.map(target(0x30));
        ASSERT_TRUE(physical);
        EXPECT_TRUE(given.insert(*physical).second);
    }
    EXPECT_FALSE(interrupts.map(target(0x30)));
    EXPECT_TRUE(interrupts.unmap(0x77));
    EXPECT_EQ(interrupts.map(target(0x30)), 0x77);
}

TEST(DeviceInterrupts, UnmapsOnce) {
    DeviceInterrupts interrupts;
    EXPECT_FALSE(interrupts.unmap(0x50));
    ASSERT_EQ(interrupts.map(target(0x50)), 0x50);
    EXPECT_TRUE(interrupts.unmap(0x50));
    EXPECT_FALSE(interrupts.find(0x50));
    EXPECT_FALSE(interrupts.unmap(0x50));
}

TEST(DeviceInterrupts, EndsALevelWhenTheGuestHas) {
    DeviceInterrupts interrupts;
    ASSERT_EQ(interrupts.map(target(0x50, true)), 0x50);
    EXPECT_EQ(interrupts.end_level(0x50), 0u) << "none has come in";
    interrupts.begin_level(0x50);
    EXPECT_EQ(interrupts.end_level(0x51), 0u);
    EXPECT_EQ(interrupts.end_level(0x50), 1u);
    EXPECT_EQ(interrupts.end_level(0x50), 0u) << "it is ended once";
    interrupts.begin_level(0x50);
    EXPECT_EQ(interrupts.end_level(0x50), 1u) << "and can come again";
}

TEST(DeviceInterrupts, ALowerOneWaitsForThoseAbove) {
    DeviceInterrupts interrupts;
    for (const std::uint8_t vector : {std::uint8_t{0x40}, std::uint8_t{0x50}, std::uint8_t{0x60}}) {
        ASSERT_EQ(interrupts.map(target(vector, true)), vector);
        interrupts.begin_level(vector);
    }
    // A physical end of interrupt now would end 0x60, which the guest has not served.
    EXPECT_EQ(interrupts.end_level(0x50), 0u);
    EXPECT_EQ(interrupts.end_level(0x60), 2u);
    EXPECT_EQ(interrupts.end_level(0x40), 1u);
}

TEST(DeviceInterrupts, AVectorInServiceIsNotGivenToAnother) {
    // The guest unmaps while the interrupt is in service. Its end still owes the physical one,
    // whose bit otherwise stays set and holds back all that is below.
    DeviceInterrupts interrupts;
    ASSERT_EQ(interrupts.map(target(0x50, true)), 0x50);
    interrupts.begin_level(0x50);
    ASSERT_TRUE(interrupts.unmap(0x50));
    const auto next = interrupts.map(target(0x50, true));
    ASSERT_TRUE(next);
    EXPECT_NE(*next, 0x50);
    EXPECT_EQ(interrupts.end_level(0x50), 1u);
    EXPECT_TRUE(interrupts.unmap(*next));
    EXPECT_EQ(interrupts.map(target(0x50, true)), 0x50) << "now it is free";
}

TEST(DeviceInterrupts, AgreesWithThePhysicalApic) {
    // A local APIC's in-service register: an end of interrupt clears the highest bit.
    std::mt19937 random{2};
    DeviceInterrupts interrupts;
    std::set<std::uint8_t> in_service;
    std::set<std::uint8_t> waiting; // for the guest
    std::vector<std::uint8_t> vectors;
    for (unsigned i = 0; i < 12; ++i) {
        const auto vector = static_cast<std::uint8_t>(0x30 + 9 * i);
        ASSERT_EQ(interrupts.map(target(vector, true)), vector);
        vectors.push_back(vector);
    }
    for (int step = 0; step < 20'000; ++step) {
        const std::uint8_t vector = vectors[random() % vectors.size()];
        if (random() % 2 == 0) {
            // It comes in if nothing of its priority class or above is in service.
            if (in_service.empty() || (vector >> 4) > (*in_service.rbegin() >> 4)) {
                interrupts.begin_level(vector);
                in_service.insert(vector);
                waiting.insert(vector);
            }
        } else if (waiting.contains(vector)) {
            waiting.erase(vector);
            const unsigned ends = interrupts.end_level(vector);
            for (unsigned i = 0; i < ends; ++i) {
                ASSERT_FALSE(in_service.empty());
                ASSERT_FALSE(waiting.contains(*in_service.rbegin()))
                    << "the line would fire again before the guest is done";
                in_service.erase(std::prev(in_service.end()));
            }
            ASSERT_TRUE(in_service.empty() || waiting.contains(*in_service.rbegin()))
                << "one that is done is still in service, at the top";
        }
    }
}

} // namespace
} // namespace hypervisor
