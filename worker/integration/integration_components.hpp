// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/device.hpp"
#include "vsp/integration/heartbeat.hpp"
#include "vsp/integration/key_value.hpp"
#include "vsp/integration/shutdown.hpp"
#include "vsp/integration/time_sync.hpp"
#include "worker/vmbus/loop_reactor.hpp"
#include "worker/vmbus/vmbus_device.hpp"

namespace croft::worker {

/// The integration components that every VM has. Calls are the control thread's.
class IntegrationComponents {
public:
    using Heartbeat = vsp::integration::Heartbeat;
    using KeyValue = vsp::integration::KeyValue;
    using Shutdown = vsp::integration::Shutdown;

    /// Offers them to the guest. All outlive the object; the bus makes no call when it is
    /// destroyed.
    IntegrationComponents(VmbusDevice& bus, IoLoop& loop, vdev::Platform& platform);

    /// Asks the guest, and doesn't wait for it.
    [[nodiscard]] Shutdown::Asked request(const Shutdown::Request& request);

    struct Guest {
        Heartbeat::State heartbeat = Heartbeat::State::no_contact;
        KeyValue::Items items;
    };
    /// What the guest has last said.
    [[nodiscard]] Guest guest();

private:
    VmbusDevice& bus_;
    LoopReactor reactor_;
    Shutdown shutdown_;
    Heartbeat heartbeat_;
    vsp::integration::TimeSync time_sync_;
    KeyValue key_value_;
};

} // namespace croft::worker
