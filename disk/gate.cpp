// SPDX-License-Identifier: Apache-2.0
#include "disk/gate.hpp"

#include <algorithm>
#include <utility>

namespace croft::disk {

Gate::Lane::Lane(Gate& gate, Ring& ring, Completion& reopened)
    : gate_{gate},
      ring_{ring},
      reopened_{reopened} {
    const std::lock_guard lock{gate.mutex_};
    gate.lanes_.push_back(this);
}

Gate::Lane::~Lane() {
    const std::lock_guard lock{gate_.mutex_};
    std::erase(gate_.lanes_, this);
}

// Both sides write first and look then, in one order for all: either the lane sees that the gate is
// closed, or close() sees that somebody is inside.
bool Gate::Lane::enter() noexcept {
    for (;;) {
        inside_.store(inside_.load(std::memory_order_relaxed) + 1);
        if (!gate_.closed_.load())
            return true;
        leave();
        const std::lock_guard lock{gate_.mutex_};
        if (!gate_.closed_.load())
            continue; // opened in between
        refused_ = true;
        return false;
    }
}

void Gate::Lane::leave() noexcept {
    const unsigned left = inside_.load(std::memory_order_relaxed) - 1;
    inside_.store(left);
    if (left != 0 || !gate_.closed_.load())
        return;
    // With the mutex, or close() might look before and wait after.
    const std::lock_guard lock{gate_.mutex_};
    gate_.left_.notify_all();
}

bool Gate::empty() const {
    return std::ranges::all_of(lanes_, [](const Lane* lane) { return lane->inside_.load() == 0; });
}

void Gate::close() {
    std::unique_lock lock{mutex_};
    closed_.store(true);
    left_.wait(lock, [this] { return empty(); });
}

void Gate::open() {
    const std::lock_guard lock{mutex_};
    closed_.store(false);
    // A lane that was refused has requests that wait, and outlives them.
    for (Lane* lane : lanes_) {
        if (std::exchange(lane->refused_, false))
            lane->ring_.post(lane->reopened_, 0);
    }
}

} // namespace croft::disk
