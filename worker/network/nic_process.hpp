// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/remote/remote_service.hpp"
#include "vsp/network/mac_address.hpp"
#include "vsp/network/management.hpp"
#include "vsp/network/send_completer.hpp"
#include "worker/executor/io_loop.hpp"
#include "worker/network/nic.hpp"
#include "worker/network/provider_process.hpp"
#include "worker/settings/settings.hpp"
#include "worker/vmbus/loop_reactor.hpp"
#include "worker/vmbus/vmbus_device.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace croft::worker {

/// A network adapter whose provider is a process of its own, croft-nic. That process can end its
/// adapter and do nothing else to the VM: the guest loses the adapter and runs on.
class NicProcess final : public Nic {
public:
    /// Returns when the process has opened the TAP device. `nic` has its number, its address and
    /// its queues; frames go by that many `threads`. `bus` and `loop`, its thread, outlive the
    /// object. Errors: SystemError, with the process's own reason if it has one.
    NicProcess(const NicSettings& nic, std::size_t threads, VmbusDevice& bus, IoLoop& loop);
    ~NicProcess() override;

    void set_plugged(bool plugged) override;
    /// With its process's number, or null if that has ended; then the counters are the last known.
    [[nodiscard]] nlohmann::json statistics() const override;
    /// Of one whose process has ended: the state after power-on, in which a guest finds it where
    /// that is restored.
    [[nodiscard]] vdev::Record save() const override;
    void restore(const vdev::Record& record) override;
    void reset() override;

private:
    void begin_leave() override;
    [[nodiscard]] bool is_idle() override;
    [[nodiscard]] bool withdraw(std::chrono::milliseconds patience) override;
    [[nodiscard]] vmbus::remote::RemoteService::Events events();
    [[nodiscard]] vmbus::remote::Bytes exchange(const vmbus::remote::Bytes& question) const;
    void connect();
    void lost(const std::string& reason);
    void take_away();

    const std::uint32_t number_;
    const vsp::network::MacAddress address_;
    VmbusDevice& bus_;
    IoLoop& loop_;
    ProviderProcess process_;
    vsp::network::DistantAdapter adapter_;
    mutable vsp::network::AdapterReport last_report_;

    // Of the loop's thread:
    LoopReactor reactor_;
    std::unique_ptr<vsp::network::SendCompleter> completer_;
    std::unique_ptr<vmbus::remote::RemoteService> service_;
    vmbus::Server::DeviceId id_{};
    std::string how_it_ended_;
    /// Set there once, and then the reason changes no more.
    std::atomic<bool> is_lost_ = false;
    std::string why_lost_;
};

} // namespace croft::worker
