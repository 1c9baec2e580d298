// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/vsp/channel_service.hpp"

#include <cstdint>

namespace croft::vmbus::remote {

/// What is left of a service whose process has ended: it sees to the channels that the guest has
/// still open, until the guest closes them. Drivers may wait for answers first that nobody else
/// gives. All calls are the bus's thread's.
class Successor {
public:
    Successor() = default;
    Successor(const Successor&) = delete;
    Successor& operator=(const Successor&) = delete;

    /// The rings are as the process has left them. `control` stays until the channel is closed, and
    /// gets no answers; the channel may fail.
    virtual void take_over(
        std::uint16_t sub_channel, OpenChannel channel, ChannelControl& control) = 0;
    /// On return that channel is touched no more. It may be one that was never taken over.
    virtual void close(std::uint16_t sub_channel) = 0;
    /// On return no memory of the guest is touched, and nobody is signalled, until `start`.
    virtual void stop() = 0;
    /// It goes on, as if each channel had been signalled once. Before the first it is stopped.
    virtual void start() = 0;

protected:
    ~Successor() = default;
};

} // namespace croft::vmbus::remote
