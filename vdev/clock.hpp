// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace croft::vdev {

/// The time that a VM's devices live in.
class Clock {
public:
    virtual ~Clock() = default;

    /// Nanoseconds that the VM has been running; stands still while it is stopped.
    [[nodiscard]] virtual std::uint64_t now() const = 0;

    /// Nanoseconds since 1970-01-01 00:00 UTC in the world outside.
    [[nodiscard]] virtual std::int64_t wall() const = 0;
};

/// One alarm of a device. Its callback runs on the thread that owns the device's I/O, never on a
/// VP's.
class Timer {
public:
    virtual ~Timer() = default;

    /// Calls back once when `Clock::now` reaches `deadline` (nanoseconds). Replaces what was armed.
    virtual void arm(std::uint64_t deadline) = 0;

    /// Takes the alarm back. A call-back that has begun may still be running, so a device decides
    /// in the call-back, under its own lock, whether the alarm is still wanted.
    virtual void disarm() = 0;
};

/// Makes alarms. Destroying one waits for a call-back that is running, unless that is the caller.
class TimerService {
public:
    virtual ~TimerService() = default;

    [[nodiscard]] virtual std::unique_ptr<Timer> create_timer(std::function<void()> callback) = 0;
};

inline constexpr std::uint64_t nanoseconds_per_second = 1'000'000'000;

/// value * multiplier / divisor without overflow in between; the result has to fit.
[[nodiscard]] constexpr std::uint64_t scale(
    std::uint64_t value, std::uint64_t multiplier, std::uint64_t divisor) {
    const std::uint64_t whole = value / divisor;
    const std::uint64_t rest = value % divisor;
    return whole * multiplier + rest * multiplier / divisor;
}

} // namespace croft::vdev
