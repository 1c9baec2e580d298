// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/record.hpp"
#include "vmbus/protocol/guid.hpp"
#include "vsp/network/mac_address.hpp"
#include "vsp/network/management.hpp"

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>

namespace croft::worker {

/// One synthetic network adapter of a VM, wherever it is served: on VMBus as long as the object
/// lives, and plugged into a TAP device. Calls are the control thread's.
class Nic {
public:
    Nic() = default;
    /// Takes it away from the guest; nothing of it is under way any more then.
    virtual ~Nic() = default;
    Nic(const Nic&) = delete;
    Nic& operator=(const Nic&) = delete;

    /// Has the guest end what it does with the adapter and give it back, while it is still served.
    /// Answers false if it doesn't within some seconds.
    [[nodiscard]] bool take_leave();

    /// Plugs the adapter in or out, as a cable. Errors: SystemError if its process has ended.
    virtual void set_plugged(bool plugged) = 0;
    /// Address, link and counters, for the control socket.
    [[nodiscard]] virtual nlohmann::json statistics() const = 0;

    // As of vdev::Device.
    [[nodiscard]] virtual vdev::Record save() const = 0;
    virtual void restore(const vdev::Record& record) = 0;
    virtual void reset() = 0;

private:
    /// The guest sees the link down from now on.
    virtual void begin_leave() = 0;
    /// Whether the guest has nothing under way with it.
    [[nodiscard]] virtual bool is_idle() = 0;
    /// The guest hears that it goes. Answers whether it has given it back within that time.
    [[nodiscard]] virtual bool withdraw(std::chrono::milliseconds patience) = 0;
};

/// Which adapter the guest finds on VMBus: the same in every VM for that number, and over its life.
[[nodiscard]] vmbus::Guid instance_of(std::uint32_t number);

/// What `Nic::statistics` answers.
[[nodiscard]] nlohmann::json describe(std::uint32_t number, const vsp::network::MacAddress& address,
    const vsp::network::AdapterReport& report);

} // namespace croft::worker
