// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/guests/guest_machine.hpp"
#include "tests/guests/hostile_guest.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

namespace croft::guests {

/// Several processors of one partition that all run the hostile guest. What they leave to their
/// parent is answered with nothing, and one that has run itself into the ground is started again.
class HostileMachine {
public:
    HostileMachine(std::uint32_t processors, std::uint64_t seed);

    /// One thread for each processor. They run for `time`, and on until `calls` hypercalls were
    /// made.
    void run_for(std::chrono::seconds time, std::uint64_t calls);

    [[nodiscard]] std::uint64_t rounds(std::uint32_t index) const;
    /// Hypercalls that all processors have made.
    [[nodiscard]] std::uint64_t calls() const;
    [[nodiscard]] std::uint64_t starts() const { return starts_; }

private:
    void start(std::uint32_t index);
    void answer(std::uint32_t index);
    void run(std::uint32_t index);
    void report() const;
    [[nodiscard]] volatile hostile::Area& area(std::uint32_t index) const;

    GuestMachine machine_;
    std::uint32_t processors_;
    std::vector<hv_register_assoc> long_mode_;
    std::vector<std::vector<std::uint8_t>> apics_;
    std::atomic<bool> ends_{false};
    std::atomic<std::uint64_t> starts_{0};
};

} // namespace croft::guests
