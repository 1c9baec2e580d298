// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/clock.hpp"
#include "vsp/integration/integration_service.hpp"

#include <cstdint>
#include <memory>

namespace croft::vsp::integration {

/// Asks the guest every two seconds whether it is alive.
class Heartbeat final : public IntegrationService {
public:
    /// Both outlive the object.
    Heartbeat(vmbus::Reactor& reactor, vdev::Clock& clock, vdev::TimerService& timers);

    /// As Msvm_HeartbeatComponent has them.
    enum class State : std::uint8_t {
        /// No driver of the guest has answered yet.
        no_contact,
        ok,
        /// One has, and the last few questions were not answered.
        lost_communication,
    };
    [[nodiscard]] State state() const;

    static constexpr std::uint64_t interval = 2 * vdev::nanoseconds_per_second;
    /// So many questions without an answer are bad news.
    static constexpr unsigned patience = 5;

private:
    void begin() override;
    void end() override;
    void answered(const Answer& answer) override;
    void beat();

    vdev::Clock& clock_;
    std::unique_ptr<vdev::Timer> timer_;
    std::uint64_t sequence_ = 0;
    bool heard_ = false;
    unsigned unanswered_ = 0;
};

} // namespace croft::vsp::integration
