// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/testing/model_guest.hpp"
#include "vmbus/testing/test_vm.hpp"
#include "vsp/threads/testing/ring_host.hpp"

#include <cstdint>
#include <gtest/gtest.h>
#include <optional>
#include <vector>

namespace croft::vsp::testing {

/// A guest and a provider, with a VMBus between them: what is the same whatever it provides.
class ProviderFixture : public ::testing::Test {
protected:
    static constexpr vmbus::Guid instance = vmbus::Guid::of(1, 2, 3, {4});

    /// \param pages of the guest's memory
    explicit ProviderFixture(std::uint64_t pages) : vm_{pages} {}

    /// The guest boots as far as it sees the device.
    void connect(const vmbus::Offer& offer, vmbus::ChannelService& device) {
        vm_.server().start();
        device_ = vm_.server().add(offer, device);
        ASSERT_TRUE(guest_.connect());
        offers_ = guest_.request_offers();
        ASSERT_EQ(offers_.size(), 1U);
    }
    /// Ends what is under way, before what it uses ends: whoever has that calls it first.
    void disconnect() {
        bool is_over = false;
        vm_.server().remove(device_);
        vm_.server().reset([&] { is_over = true; });
        while (!is_over && host_.work()) {
        }
        host_.settle();
    }

    vmbus::testing::TestVm vm_;
    RingHost host_;
    vmbus::Server::DeviceId device_{};
    vmbus::testing::ModelGuest guest_{vm_, [this] {
                                          return host_.work();
                                      }};
    std::vector<vmbus::protocol::OfferChannel> offers_;
    std::optional<vmbus::testing::ModelGuest::Channel> primary_;
};

} // namespace croft::vsp::testing
