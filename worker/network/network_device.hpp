// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/device.hpp"
#include "vsp/network/adapter.hpp"
#include "vsp/network/link_watch.hpp"
#include "vsp/network/tap.hpp"
#include "worker/executor/io_loop.hpp"
#include "worker/executor/ring_threads.hpp"
#include "worker/settings/settings.hpp"
#include "worker/vmbus/loop_reactor.hpp"
#include "worker/vmbus/vmbus_device.hpp"

#include <cstddef>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace croft::worker {

/// One synthetic network adapter of a VM, on VMBus, and the TAP device that it is plugged into.
/// Calls are the control thread's.
class NetworkDevice final : public vdev::Device {
public:
    /// Opens the TAP device of the NIC with that place in the settings. `threads`, `bus` and
    /// `loop`, its thread, outlive the object. Errors: SystemError.
    NetworkDevice(const Settings& settings, std::size_t index, const RingThreads& threads,
        VmbusDevice& bus, IoLoop& loop);
    ~NetworkDevice() override;

    /// Plugs the adapter in or out, as a cable.
    void set_plugged(bool plugged);
    /// Address, link and counters, for the control socket.
    [[nodiscard]] nlohmann::json statistics() const;

    [[nodiscard]] std::string_view name() const override { return name_; }
    void configure(vdev::Platform& platform) override;
    /// VMBus starts and stops the adapter.
    void start() override {}
    void stop() override {}
    [[nodiscard]] vdev::Record save() const override;
    void restore(const vdev::Record& record) override;
    void reset() override;
    void remove() override;

private:
    const std::string name_;
    const vmbus::Guid instance_;
    VmbusDevice& bus_;
    std::unique_ptr<vsp::network::Tap> tap_;
    vsp::network::Adapter adapter_;
    LoopReactor reactor_;
    /// Lives on the loop's thread.
    std::unique_ptr<vsp::network::LinkWatch> watch_;
    vmbus::Server::DeviceId id_{};
};

} // namespace croft::worker
