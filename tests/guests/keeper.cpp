// SPDX-License-Identifier: Apache-2.0
#include "tests/guests/keeper.hpp"

#include "tests/guests/child_statistics.hpp"

#include <algorithm>
#include <chrono>
#include <gtest/gtest.h>
#include <thread>

namespace croft::guests {

Keeper::Keeper(Code code) {
    machine_.load(code);
    machine_.start_in_long_mode();
    machine_.set(HV_X64_REGISTER_RDI, gpa);
}

void Keeper::run() {
    said_ = machine_.report();
    has_ended_ = true;
}

std::uint64_t Keeper::rounds() {
    return *reinterpret_cast<const volatile std::uint64_t*>(machine_.memory() + gpa);
}

std::size_t enough_keepers() {
    return 2 * std::size_t{std::thread::hardware_concurrency()} + 1;
}

void expect_that_they_keep(std::vector<std::unique_ptr<Keeper>>& keepers) {
    constexpr std::uint64_t enough_dispatches = 20;
    std::vector<std::jthread> runners;
    for (auto& keeper : keepers) {
        runners.emplace_back([&keeper] { keeper->run(); });
    }
    // None of them ever waits for anything: each dispatch but the first is after a preemption.
    const auto all_have_been_preempted = [&] {
        const auto counts = processor_counters("VpLogicalProcessorDispatches");
        return counts.size() == keepers.size() &&
            std::all_of(counts.begin(), counts.end(),
                [](std::uint64_t count) { return count >= enough_dispatches; });
    };
    const auto one_has_failed = [&] {
        return std::any_of(
            keepers.begin(), keepers.end(), [](const auto& keeper) { return keeper->has_ended(); });
    };
    while (!one_has_failed() && !all_have_been_preempted()) {
        std::this_thread::sleep_for(std::chrono::milliseconds{1}); // lets the guests run
    }
    for (auto& keeper : keepers) {
        keeper->stop();
    }
    runners.clear();
    for (auto& keeper : keepers) {
        EXPECT_EQ(keeper->said(), 0u);
        EXPECT_GT(keeper->rounds(), 0u);
    }
}

} // namespace croft::guests
