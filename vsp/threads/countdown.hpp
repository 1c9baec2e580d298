// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/threads/threads.hpp"

#include <functional>
#include <memory>
#include <utility>

namespace croft::vsp {

/// Calls back on the bus's thread when all who share it have let go of it.
class Countdown {
public:
    /// `threads` outlives it.
    Countdown(const Threads& threads, std::function<void()> done)
        : threads_(threads),
          done_(std::move(done)) {}
    Countdown(const Countdown&) = delete;
    Countdown& operator=(const Countdown&) = delete;
    ~Countdown() { threads_.post_to_bus(std::move(done_)); }

private:
    const Threads& threads_;
    std::function<void()> done_;
};

} // namespace croft::vsp
