// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/server/host.hpp"
#include "vmbus/vsp/channel_service.hpp"

#include <cstdint>
#include <mutex>
#include <optional>

namespace croft::vmbus {

/// A channel's event flag on the processor where the guest wants it. Whoever has changed the
/// processor, or ended it, knows that no signal still goes to the old one.
class ChannelInterrupt final : public Interrupt {
public:
    /// `host` outlives the time until `end`.
    ChannelInterrupt(Host& host, std::uint16_t flag, std::optional<std::uint32_t> vp)
        : host_(&host),
          flag_(flag),
          vp_(vp) {}

    void signal() override {
        const std::lock_guard lock(mutex_);
        if (vp_) {
            host_->signal_event(*vp_, flag_);
        }
    }

    void retarget(std::uint32_t vp) {
        const std::lock_guard lock(mutex_);
        vp_ = vp;
    }

    void end() {
        const std::lock_guard lock(mutex_);
        vp_.reset();
    }

private:
    std::mutex mutex_;
    Host* host_;
    std::uint16_t flag_;
    std::optional<std::uint32_t> vp_;
};

} // namespace croft::vmbus
