// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"
#include "vsp/network/back_end.hpp"
#include "vsp/network/mac_address.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace croft::provider {

struct NicServiceSettings {
    vsp::network::MacAddress address;
    /// Of the network, in bytes.
    std::uint32_t mtu = 0;
    /// That frames go by.
    std::size_t threads = 1;
    /// As a cable, at first.
    bool plugged = true;
    /// Whether the network works, asked whenever an interface of the host has changed; it does if
    /// nobody can say.
    std::function<bool()> is_working;
};

/// Serves a guest's network adapter whose VMBus is in the process at the other end of `socket`, and
/// returns when that end is gone and nothing of the guest's is in use any more. Answers what was
/// wrong with the other end, or nothing if it has just gone. `back_end` has as many queues as there
/// may be channels. Errors: DeviceError if there are no threads to be had.
[[nodiscard]] std::string serve_nic(
    vmbus::Descriptor socket, vsp::network::BackEnd& back_end, const NicServiceSettings& settings);

} // namespace croft::provider
