// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/clock.hpp"

#include <atomic>

namespace croft::worker {

/// A VM's time: that of the host, less what the VM has been stopped. Begins at 0, stopped. `now`
/// and `wall` may be called by any thread, the others by one.
class VmClock final : public vdev::Clock {
public:
    [[nodiscard]] std::uint64_t now() const override;
    [[nodiscard]] std::int64_t wall() const override;

    void start();
    void stop();
    /// Sets the time of a stopped clock, in nanoseconds.
    void set(std::uint64_t time);

private:
    static constexpr std::uint64_t is_running = ~std::uint64_t{0};

    /// The time at which the clock stands, or `is_running`.
    std::atomic<std::uint64_t> stopped_at_ = 0;
    /// What to add to the host's monotonic time; may wrap.
    std::atomic<std::uint64_t> offset_ = 0;
};

} // namespace croft::worker
