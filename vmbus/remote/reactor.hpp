// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

namespace croft::vmbus {

/// The event loop of the bus's thread, or of a service's. All calls and callbacks are of one
/// thread.
class Reactor {
public:
    Reactor() = default;
    Reactor(const Reactor&) = delete;
    Reactor& operator=(const Reactor&) = delete;
    virtual ~Reactor() = default;

    /// Calls `ready` each time that `descriptor` is found ready for `events` (POLLIN, POLLOUT) or
    /// at its end, until it is unwatched. Watching it again changes both.
    virtual void watch(int descriptor, short events, std::function<void()> ready) = 0;
    /// On return `ready` is not called any more. One that isn't watched is none the less unwatched.
    virtual void unwatch(int descriptor) = 0;
};

} // namespace croft::vmbus
