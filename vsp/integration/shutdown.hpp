// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/integration/integration_service.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace croft::vsp::integration {

/// Asks the guest's operating system to shut down or to reboot.
class Shutdown final : public IntegrationService {
public:
    explicit Shutdown(vmbus::Reactor& reactor);

    enum class Action : std::uint8_t { power_off, reboot, hibernate };

    struct Request {
        Action action = Action::power_off;
        /// Even if programs object.
        bool forced = false;
        /// For the guest's users, up to 1023 characters; the rest is cut off.
        std::string_view text;
    };

    enum class Asked : std::uint8_t {
        yes,
        /// The guest has no driver, or one that takes nothing.
        nobody_there,
        /// One request at a time: the guest hasn't answered the one before. It does so at once, or
        /// is stuck.
        unanswered,
    };
    /// If that is Asked::yes, `done` gets the guest's HRESULT: message::status_ok if it sets about
    /// it, as it will when it answers; message::status_not_connected if it goes before it has
    /// answered.
    [[nodiscard]] Asked request(
        const Request& request, std::function<void(std::uint32_t status)> done);

private:
    struct Pending {
        std::uint8_t transaction;
        std::function<void(std::uint32_t)> done;
    };

    void begin() override {}
    void end() override { finish(message::status_not_connected); }
    void answered(const Answer& answer) override;
    void finish(std::uint32_t status);

    std::optional<Pending> pending_;
};

} // namespace croft::vsp::integration
