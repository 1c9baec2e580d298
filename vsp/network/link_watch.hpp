// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"
#include "vmbus/remote/reactor.hpp"

#include <functional>

namespace croft::vsp::network {

/// Tells when a network interface of the host may have come up or gone down, or gone altogether.
/// The reactor's thread.
class LinkWatch {
public:
    /// `changed` is called whenever one has, whichever it is. Without the right to listen it is
    /// never.
    LinkWatch(vmbus::Reactor& reactor, std::function<void()> changed);
    ~LinkWatch();
    LinkWatch(const LinkWatch&) = delete;
    LinkWatch& operator=(const LinkWatch&) = delete;

private:
    void heard();

    vmbus::Reactor& reactor_;
    std::function<void()> changed_;
    vmbus::Descriptor socket_;
};

} // namespace croft::vsp::network
