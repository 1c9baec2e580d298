// SPDX-License-Identifier: Apache-2.0
// What must not hurt anyone: a guest that tries everything, one that rewrites what is looked at,
// and a program in the root that tries everything. All try at random; HOSTILE_SEED repeats what one
// of them tried. HOSTILE_SECONDS says for how long, HOSTILE_CALLS how many hypercalls the guest
// makes at the least.
#include "tests/guests/hostile_machine.hpp"
#include "tests/guests/hostile_root.hpp"
#include "tests/guests/race.hpp"

#include <cstdlib>
#include <gtest/gtest.h>
#include <iostream>
#include <random>

extern "C" const std::uint8_t guest_protected_mode[];
extern "C" const std::uint8_t guest_protected_mode_end[];

namespace croft::guests {

namespace {

std::uint64_t number(const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

class Hostile : public testing::Test {
protected:
    void SetUp() override { std::cout << "HOSTILE_SEED=" << seed << std::endl; }
    /// Afterwards all is as ever.
    void TearDown() override {
        GuestMachine machine;
        machine.load({guest_protected_mode, guest_protected_mode_end});
        machine.store<std::uint32_t>(GuestMachine::data_gpa, 40);
        machine.store<std::uint32_t>(GuestMachine::data_gpa + 4, 2);
        machine.start_in_protected_mode();
        EXPECT_EQ(machine.report(), 42u);
    }
    const std::uint64_t seed = number("HOSTILE_SEED", std::random_device{}());
    const std::chrono::seconds time{number("HOSTILE_SECONDS", 15)};
};

TEST_F(Hostile, Guest) {
    constexpr std::uint32_t processors = 3;
    constexpr std::uint64_t few = 200;
    HostileMachine machine{processors, seed};
    machine.run_for(time, number("HOSTILE_CALLS", 0));
    for (std::uint32_t i = 0; i < processors; ++i) {
        std::cout << "processor " << i << " has tried " << machine.rounds(i) << '\n';
        EXPECT_GE(machine.rounds(i), few);
    }
    std::cout << machine.calls() << " hypercalls, " << machine.starts() << " starts\n";
}

TEST_F(Hostile, Race) {
    constexpr std::uint64_t few = 20;
    const Race::Counts counts = Race{seed}.run_for(time);
    for (const auto& [what, rounds] : counts.steady) {
        std::cout << rounds << " rounds of '" << what << "'\n";
    }
    std::cout << counts.raced << " rounds in which something changed\n";
    EXPECT_EQ(counts.wrong, std::vector<std::string>{});
    EXPECT_EQ(counts.steady.size(), 12u)
        << "nine instructions, CPUID in two lengths, a missing page";
    EXPECT_GE(counts.raced, few);
}

TEST_F(Hostile, Root) {
    const HostileRoot::Counts counts = HostileRoot{seed}.run_for(time);
    std::cout << counts.calls << " requests, " << counts.granted << " granted, "
              << counts.hypercalls << " hypercalls, " << counts.hypercalls_granted << " granted\n";
    EXPECT_GT(counts.granted, 0u);
    EXPECT_GT(counts.hypercalls_granted, 0u);
}

} // namespace

} // namespace croft::guests
