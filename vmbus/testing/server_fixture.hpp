// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/remote/poll_reactor.hpp"
#include "vmbus/server/server.hpp"
#include "vmbus/testing/echo_service.hpp"
#include "vmbus/testing/model_guest.hpp"
#include "vmbus/testing/test_vm.hpp"

#include <cstdint>
#include <gtest/gtest.h>
#include <string_view>

namespace croft::vmbus::testing {

using protocol::MessageType;

inline Offer offer_of(std::uint8_t instance, std::uint8_t type = 1) {
    Offer offer;
    offer.interface_type = Guid::of(type, 2, 3, {});
    offer.instance = Guid::of(instance, 0, 0, {1});
    offer.mmio_megabytes = instance;
    offer.user_defined[0] = instance;
    return offer;
}

/// A server, and a guest that speaks the half of Linux.
class ServerTest : public ::testing::Test {
protected:
    ServerTest() { vm_.server().start(); }

    protocol::OfferChannel connect_to_one() {
        id_ = vm_.server().add(offer_of(1), echo_);
        EXPECT_TRUE(guest_.connect());
        const auto offers = guest_.request_offers();
        EXPECT_EQ(offers.size(), 1U);
        return offers.at(0);
    }

    void expect_echo(ModelGuest::Channel& channel, std::uint64_t value = 42) {
        GuestPacket packet;
        packet.transaction_id = value;
        packet.payload = {value, value, value};
        ASSERT_TRUE(guest_.send(channel, packet));
        const auto reply = guest_.receive(channel);
        ASSERT_TRUE(reply);
        EXPECT_EQ(reply->type, 11);
        EXPECT_EQ(reply->transaction_id, value);
        EXPECT_EQ(reply->payload, packet.payload);
    }

    /// How many lines there were before.
    void expect_line(std::size_t before, std::string_view line) {
        ASSERT_EQ(vm_.reports().size(), before + 1) << line;
        EXPECT_EQ(vm_.reports().back(), line);
    }

    static protocol::MessageHeader header(MessageType type) {
        return {static_cast<std::uint32_t>(type), 0};
    }

    TestVm vm_;
    PollReactor reactor_;
    EchoService echo_{reactor_};
    EchoService other_{reactor_};
    ModelGuest guest_{vm_, [this] {
                          return reactor_.run_once(0);
                      }};
    Server::DeviceId id_ = 0;
};

} // namespace croft::vmbus::testing
