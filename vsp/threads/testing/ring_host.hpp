// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/uring_ring.hpp"
#include "vsp/threads/threads.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

namespace croft::vsp::testing {

/// The host's side on the test's own thread: what is posted to the bus, and a ring. It gets on when
/// it is told to.
class RingHost {
public:
    RingHost();
    ~RingHost();
    RingHost(const RingHost&) = delete;
    RingHost& operator=(const RingHost&) = delete;

    [[nodiscard]] Threads threads();
    /// For vmbus::testing::ModelGuest: waits for something to do and does it. False if nothing
    /// comes for seconds: then somebody was not woken.
    bool work();
    /// Does what is to be done, and waits for nothing.
    void settle();

private:
    /// Ends a wait for what doesn't come.
    class Watchdog final : public disk::Completion {
    public:
        Watchdog();
        ~Watchdog();
        Watchdog(const Watchdog&) = delete;
        Watchdog& operator=(const Watchdog&) = delete;
        void arm(disk::Ring& ring);
        bool barked = false;

    private:
        int timer_;
        bool is_listening_ = false;
        std::uint64_t count_ = 0;
        iovec segment_{&count_, sizeof(count_)};
    };

    bool run_posted();

    std::deque<std::function<void()>> posted_;
    std::unique_ptr<Watchdog> watchdog_;
    std::unique_ptr<disk::UringRing> ring_;
};

} // namespace croft::vsp::testing
