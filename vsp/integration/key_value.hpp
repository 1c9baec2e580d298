// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/clock.hpp"
#include "vsp/integration/integration_service.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace croft::vsp::integration {

/// Asks the guest every now and then what it says of itself: names, addresses, operating system. On
/// Linux a daemon answers (hv_kvp_daemon of the package hyperv-daemons).
class KeyValue final : public IntegrationService {
public:
    /// All outlive the object.
    KeyValue(vmbus::Reactor& reactor, vdev::Clock& clock, vdev::TimerService& timers);

    /// In the guest's order, as UTF-8.
    using Items = std::vector<std::pair<std::string, std::string>>;
    /// What the guest said when it was last asked; nothing while nobody is there to be asked.
    [[nodiscard]] const Items& items() const { return items_; }

    static constexpr std::uint64_t interval = 10 * vdev::nanoseconds_per_second;
    /// More than any guest has; whoever says more isn't believed.
    static constexpr std::uint32_t most_items = 64;

private:
    void begin() override { ask_anew(); }
    void end() override;
    void answered(const Answer& answer) override;
    void ask_anew();
    void ask();
    void take(const message::KeyValueData& item);

    vdev::Clock& clock_;
    std::unique_ptr<vdev::Timer> timer_;
    Items items_;
    /// As far as they have come.
    Items coming_;
    std::uint8_t transaction_ = 0;
};

} // namespace croft::vsp::integration
