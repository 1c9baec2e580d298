// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/integration/integration_service.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace croft::vsp::integration {

/// Asks the guest for what it says of itself: names, addresses, operating system. On Linux a daemon
/// answers (hv_kvp_daemon of the package hyperv-daemons).
class KeyValue final : public IntegrationService {
public:
    explicit KeyValue(vmbus::Reactor& reactor);

    /// In the guest's order, as UTF-8.
    using Items = std::vector<std::pair<std::string, std::string>>;
    /// `done` gets what the guest says now; nothing if nobody is there to be asked, and what has
    /// come if it goes before the end.
    void read(std::function<void(const Items&)> done);

    /// More than any guest has; whoever says more isn't believed.
    static constexpr std::uint32_t most_items = 64;

private:
    void begin() override {}
    void end() override { finish(); }
    void answered(const Answer& answer) override;
    void ask();
    void finish();

    std::vector<std::function<void(const Items&)>> waiting_;
    Items items_;
    std::uint32_t index_ = 0;
    std::uint8_t transaction_ = 0;
};

} // namespace croft::vsp::integration
