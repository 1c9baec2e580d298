// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/record.hpp"
#include "vsp/network/adapter.hpp"
#include "vsp/network/link_watch.hpp"
#include "vsp/network/tap.hpp"
#include "vsp/threads/ring_threads.hpp"
#include "worker/executor/io_loop.hpp"
#include "worker/settings/settings.hpp"
#include "worker/vmbus/loop_reactor.hpp"
#include "worker/vmbus/vmbus_device.hpp"

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>

namespace croft::worker {

/// One synthetic network adapter of a VM, on VMBus as long as the object lives, and the TAP device
/// that it is plugged into. Calls are the control thread's.
class NetworkDevice {
public:
    /// Opens the TAP device. `nic` has its number, its address and its queues. `threads`, `bus` and
    /// `loop`, its thread, outlive the object. Errors: SystemError.
    NetworkDevice(
        const NicSettings& nic, const vsp::RingThreads& threads, VmbusDevice& bus, IoLoop& loop);
    /// Takes it away from the guest; nothing of it is under way any more then.
    ~NetworkDevice();
    NetworkDevice(const NetworkDevice&) = delete;
    NetworkDevice& operator=(const NetworkDevice&) = delete;

    /// Has the guest end what it does with the adapter, before that is taken away. Answers false if
    /// it doesn't within some seconds.
    [[nodiscard]] bool take_leave();

    /// Plugs the adapter in or out, as a cable.
    void set_plugged(bool plugged);
    /// Address, link and counters, for the control socket.
    [[nodiscard]] nlohmann::json statistics() const;

    // As of vdev::Device.
    [[nodiscard]] vdev::Record save() const;
    void restore(const vdev::Record& record);
    void reset();

private:
    const std::uint32_t number_;
    VmbusDevice& bus_;
    std::unique_ptr<vsp::network::Tap> tap_;
    vsp::network::Adapter adapter_;
    LoopReactor reactor_;
    /// Lives on the loop's thread.
    std::unique_ptr<vsp::network::LinkWatch> watch_;
    vmbus::Server::DeviceId id_{};
};

} // namespace croft::worker
