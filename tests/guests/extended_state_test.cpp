// SPDX-License-Identifier: Apache-2.0
// Registers beyond the general ones, while guests take turns on too few processors.
#include "tests/guests/child_statistics.hpp"
#include "tests/guests/guest_code.hpp"
#include "tests/guests/guest_machine.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <vector>

GUEST(keeps_extended_state)

namespace croft::guests {

namespace {

constexpr std::uint64_t rounds_gpa = GuestMachine::data_gpa;
constexpr std::uint64_t stop_gpa = rounds_gpa + 8;
constexpr std::uint64_t ymm_gpa = rounds_gpa + 0x40;
constexpr std::uint64_t x87_gpa = rounds_gpa + 0x240;

class Keeper {
public:
    explicit Keeper(std::uint64_t number) {
        machine_.load(CODE(keeps_extended_state));
        for (std::uint64_t i = 0; i < 16; ++i) {
            for (std::uint64_t part = 0; part < 4; ++part) {
                machine_.store(ymm_gpa + 32 * i + 8 * part,
                    (number << 48) | (i << 40) | (part << 32) | (0x5eed0000 + 7 * i));
            }
        }
        for (std::uint64_t i = 0; i < 8; ++i) {
            constexpr std::uint64_t integer_bit = 1ull << 63;
            machine_.store(x87_gpa + 16 * i, integer_bit | (number << 48) | (i << 40) | 0x87);
            machine_.store(x87_gpa + 16 * i + 8, static_cast<std::uint16_t>(0x3fff + number + i));
        }
        machine_.start_in_long_mode();
        machine_.set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
    }

    /// What the guest says in the end: 0 if all was always as it should be.
    void run() {
        said_ = machine_.report();
        has_ended_ = true;
    }
    void stop() { machine_.store(stop_gpa, std::uint64_t{1}); }
    [[nodiscard]] bool has_ended() const { return has_ended_; }
    [[nodiscard]] std::optional<std::uint32_t> said() const { return said_; }
    [[nodiscard]] std::uint64_t rounds() {
        return *reinterpret_cast<const volatile std::uint64_t*>(machine_.memory() + rounds_gpa);
    }

private:
    GuestMachine machine_;
    std::atomic<bool> has_ended_{false};
    std::optional<std::uint32_t> said_;
};

TEST(ExtendedState, IsEachGuestsOwnWhileTheyTakeTurns) {
    constexpr std::uint64_t enough_dispatches = 20;
    const std::size_t guests = 2 * std::thread::hardware_concurrency() + 1;
    std::vector<std::unique_ptr<Keeper>> keepers;
    for (std::size_t i = 0; i < guests; ++i) {
        keepers.push_back(std::make_unique<Keeper>(i + 1));
    }
    std::vector<std::jthread> runners;
    for (auto& keeper : keepers) {
        runners.emplace_back([&keeper] { keeper->run(); });
    }
    // None of them ever waits for anything: each dispatch but the first is after a preemption.
    const auto all_have_been_preempted = [&] {
        const auto counts = processor_counters("VpLogicalProcessorDispatches");
        return counts.size() == guests &&
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

} // namespace

} // namespace croft::guests
