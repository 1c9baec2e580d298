// SPDX-License-Identifier: Apache-2.0
// Guests that fill registers with values of their own and look, again and again, whether they are
// still there, while others do the same on too few processors.
#pragma once

#include "tests/guests/guest_machine.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace croft::guests {

/// One of them. Its code finds at RDI how often it has looked, which it counts, and 8 bytes further
/// whether it shall stop; then it says 0. If something is wrong it says what, and stops as well.
class Keeper {
public:
    explicit Keeper(Code code);

    /// Where the two words are; behind them is room for its values.
    static constexpr std::uint64_t gpa = GuestMachine::data_gpa;
    [[nodiscard]] GuestMachine& machine() { return machine_; }

    void run();
    void stop() { machine_.store(gpa + 8, std::uint64_t{1}); }
    [[nodiscard]] bool has_ended() const { return has_ended_; }
    [[nodiscard]] std::optional<std::uint32_t> said() const { return said_; }
    [[nodiscard]] std::uint64_t rounds();

private:
    GuestMachine machine_;
    std::atomic<bool> has_ended_{false};
    std::optional<std::uint32_t> said_;
};

/// As many as take turns on this machine's processors.
[[nodiscard]] std::size_t enough_keepers();

/// Lets them run until each has been preempted many times, and checks that all was always as it
/// should be.
void expect_that_they_keep(std::vector<std::unique_ptr<Keeper>>& keepers);

} // namespace croft::guests
