// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/adapter.hpp"
#include "vsp/network/link_watch.hpp"
#include "vsp/network/tap.hpp"
#include "vsp/threads/ring_threads.hpp"
#include "worker/executor/io_loop.hpp"
#include "worker/network/nic.hpp"
#include "worker/settings/settings.hpp"
#include "worker/vmbus/loop_reactor.hpp"
#include "worker/vmbus/vmbus_device.hpp"

#include <cstdint>
#include <memory>

namespace croft::worker {

/// A network adapter that the worker serves itself.
class NetworkDevice final : public Nic {
public:
    /// Opens the TAP device. `nic` has its number, its address and its queues. `threads`, `bus` and
    /// `loop`, its thread, outlive the object. Errors: SystemError.
    NetworkDevice(
        const NicSettings& nic, const vsp::RingThreads& threads, VmbusDevice& bus, IoLoop& loop);
    ~NetworkDevice() override;

    void set_plugged(bool plugged) override;
    [[nodiscard]] nlohmann::json statistics() const override;
    [[nodiscard]] vdev::Record save() const override;
    void restore(const vdev::Record& record) override;
    void reset() override;

private:
    void begin_leave() override;
    [[nodiscard]] bool is_idle() override;
    [[nodiscard]] bool withdraw(std::chrono::milliseconds patience) override;

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
