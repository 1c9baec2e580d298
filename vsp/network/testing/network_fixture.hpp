// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/network/adapter.hpp"
#include "vsp/network/testing/network_guest.hpp"
#include "vsp/network/testing/socket_back_end.hpp"
#include "vsp/threads/testing/provider_fixture.hpp"

#include <cstdint>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace croft::vsp::network::testing {

inline constexpr MacAddress guest_address{{0x00, 0x15, 0x5d, 0x01, 0x02, 0x03}};
inline constexpr MacAddress other_address{{0x02, 0x00, 0x00, 0x00, 0x00, 0x01}};
inline constexpr MacAddress broadcast_address{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
inline constexpr MacAddress multicast_address{{0x01, 0x00, 0x5e, 0x00, 0x00, 0x05}};

/// An Ethernet frame of a type that means nothing, with a payload in which bytes differ.
inline Bytes frame_of(std::size_t size, const MacAddress& to = guest_address, unsigned seed = 1) {
    Bytes frame(size);
    for (std::size_t i = 0; i < size; ++i) {
        frame[i] = static_cast<std::uint8_t>(seed + i + i / 251);
    }
    std::ranges::copy(to.bytes, frame.begin());
    std::ranges::copy(other_address.bytes, frame.begin() + 6);
    frame[12] = 0x88;
    frame[13] = 0xb5;
    return frame;
}

/// A guest with an adapter, between a VMBus of its own and a network of the test's.
class NetworkFixture : public vsp::testing::ProviderFixture {
protected:
    static constexpr std::uint16_t queues = 3;
    static constexpr std::uint32_t network_mtu = 9000;

    NetworkFixture() : ProviderFixture(2048) {}
    ~NetworkFixture() override { disconnect(); }

    /// As far as the guest sees the adapter.
    void connect() { ProviderFixture::connect(Adapter::offer(instance), *adapter_); }
    /// As far as the open channel.
    void open() {
        connect();
        primary_ = guest_.open(offers_[0], 16);
        ASSERT_TRUE(primary_);
    }
    /// As far as the driver is ready for frames.
    void boot(std::uint32_t version = protocol::version_6_1, std::uint32_t mtu = 1500) {
        open();
        ASSERT_TRUE(driver_.initialize(*primary_, version, mtu));
    }
    /// The line that says why the channel ended.
    std::string wait_for_failure() {
        while (vm_.reports().empty() && host_.work()) {
        }
        return vm_.reports().empty() ? "" : vm_.reports().front();
    }
    std::optional<Frame> from_guest(std::uint16_t queue = 0) {
        host_.settle();
        return network_.receive(queue);
    }

    SocketBackEnd network_{queues};
    std::unique_ptr<Adapter> adapter_ =
        std::make_unique<Adapter>(host_.threads(), network_, guest_address, network_mtu);
    NetworkGuest driver_{vm_, guest_};
};

} // namespace croft::vsp::network::testing
