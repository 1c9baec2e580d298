// SPDX-License-Identifier: Apache-2.0
#include "worker/integration/integration_components.hpp"

#include <fmt/format.h>

namespace croft::worker {

namespace message = vsp::integration::message;

IntegrationComponents::IntegrationComponents(
    VmbusDevice& bus, IoLoop& loop, vdev::Platform& platform)
    : bus_(bus),
      reactor_(loop),
      shutdown_(reactor_),
      heartbeat_(reactor_, platform.clock, platform.timers),
      time_sync_(
          reactor_, platform.clock, platform.timers, [this] { return bus_.reference_time(); }),
      key_value_(reactor_, platform.clock, platform.timers) {
    bus_.add(message::shutdown_offer, shutdown_);
    bus_.add(message::heartbeat_offer, heartbeat_);
    bus_.add(message::time_sync_offer, time_sync_);
    bus_.add(message::key_value_offer, key_value_);
}

IntegrationComponents::Shutdown::Asked IntegrationComponents::request(
    const Shutdown::Request& request) {
    auto asked = Shutdown::Asked::nobody_there;
    bus_.call([&] {
        asked = shutdown_.request(request, [](std::uint32_t status) {
            if (status != message::status_ok) {
                fmt::print(stderr,
                    "shutdown: found status {:#x} from the guest, expected that it obeys; use "
                    "stop or reset instead\r\n",
                    status);
            }
        });
    });
    return asked;
}

IntegrationComponents::Guest IntegrationComponents::guest() {
    Guest found;
    bus_.call([&] {
        found.heartbeat = heartbeat_.state();
        found.items = key_value_.items();
    });
    return found;
}

} // namespace croft::worker
