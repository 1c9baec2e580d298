// SPDX-License-Identifier: Apache-2.0
#include "vsp/threads/testing/ring_host.hpp"

#include <sys/timerfd.h>
#include <unistd.h>
#include <utility>

namespace croft::vsp::testing {

RingHost::Watchdog::Watchdog()
    : Completion([](Completion& completion, int) noexcept {
          auto& self = static_cast<Watchdog&>(completion);
          self.is_listening_ = false;
          self.barked = true;
      }),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) {}

RingHost::Watchdog::~Watchdog() {
    ::close(timer_);
}

void RingHost::Watchdog::arm(disk::Ring& ring) {
    constexpr itimerspec patience{{0, 0}, {10, 0}};
    timerfd_settime(timer_, 0, &patience, nullptr);
    if (!std::exchange(is_listening_, true)) {
        ring.read(timer_, {&segment_, 1}, 0, *this);
    }
}

RingHost::RingHost()
    : watchdog_(std::make_unique<Watchdog>()),
      ring_(disk::UringRing::create().value()) {}

RingHost::~RingHost() = default;

Threads RingHost::threads() {
    return {{ring_.get()}, [this](std::function<void()> function) {
                posted_.push_back(std::move(function));
            }};
}

bool RingHost::run_posted() {
    if (posted_.empty()) {
        return false;
    }
    for (auto functions = std::exchange(posted_, {}); !functions.empty(); functions.pop_front()) {
        functions.front()();
    }
    return true;
}

bool RingHost::work() {
    if (run_posted() || ring_->run(false) != 0) {
        return true;
    }
    watchdog_->arm(*ring_);
    ring_->run(true);
    return !watchdog_->barked;
}

void RingHost::settle() {
    while (run_posted() || ring_->run(false) != 0) {
    }
}

} // namespace croft::vsp::testing
