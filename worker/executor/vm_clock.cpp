// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/vm_clock.hpp"

#include <ctime>

namespace croft::worker {

namespace {

std::uint64_t nanoseconds_of(clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * vdev::nanoseconds_per_second +
        static_cast<std::uint64_t>(time.tv_nsec);
}

} // namespace

std::uint64_t VmClock::now() const {
    const std::uint64_t stopped = stopped_at_.load(std::memory_order_acquire);
    return stopped != is_running
        ? stopped
        : nanoseconds_of(CLOCK_MONOTONIC) + offset_.load(std::memory_order_relaxed);
}

std::int64_t VmClock::wall() const {
    return static_cast<std::int64_t>(nanoseconds_of(CLOCK_REALTIME));
}

void VmClock::start() {
    const std::uint64_t stopped = stopped_at_.load(std::memory_order_relaxed);
    if (stopped != is_running) {
        offset_.store(stopped - nanoseconds_of(CLOCK_MONOTONIC), std::memory_order_relaxed);
        stopped_at_.store(is_running, std::memory_order_release);
    }
}

void VmClock::stop() {
    stopped_at_.store(now(), std::memory_order_release);
}

void VmClock::set(std::uint64_t time) {
    stopped_at_.store(time, std::memory_order_release);
}

} // namespace croft::worker
