// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/clock.hpp"
#include "vsp/integration/integration_service.hpp"

#include <cstdint>
#include <functional>
#include <memory>

namespace croft::vsp::integration {

/// Tells the guest the time: to be set when its driver starts and when the VM goes on after a
/// pause, in which its clocks stood, and then every few seconds, to be followed.
class TimeSync final : public IntegrationService {
public:
    /// The partition's reference time, in units of 100 ns.
    using ReferenceTime = std::function<std::uint64_t()>;

    /// All outlive the object.
    TimeSync(vmbus::Reactor& reactor, vdev::Clock& clock, vdev::TimerService& timers,
        ReferenceTime reference_time);

    static constexpr std::uint64_t interval = 5 * vdev::nanoseconds_per_second;

private:
    void begin() override;
    void end() override;
    void answered(const Answer&) override {}
    void tell(std::uint8_t flags);

    vdev::Clock& clock_;
    ReferenceTime reference_time_;
    std::unique_ptr<vdev::Timer> timer_;
};

} // namespace croft::vsp::integration
