// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/protocol/guid.hpp"
#include "vmbus/protocol/message.hpp"

#include <cstdint>

namespace croft::vmbus {

/// What a service provider offers to the guest: one device.
struct Offer {
    /// What kind of device it is; a driver is found by this.
    Guid interface_type;
    /// Which one it is. Unique in the VM, and the same over its life.
    Guid instance;
    /// protocol::offer_…
    std::uint16_t flags = protocol::offer_enumerate_device_interface;
    /// MMIO space that the device needs, in MiB.
    std::uint16_t mmio_megabytes = 0;
    protocol::UserDefined user_defined{};

    friend bool operator==(const Offer&, const Offer&) = default;
};

} // namespace croft::vmbus
