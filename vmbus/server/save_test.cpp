// SPDX-License-Identifier: Apache-2.0
//
// A server's state in a fresh server, with the same guest memory: the guest notices nothing.
#include "vdev/error.hpp"
#include "vmbus/remote/poll_reactor.hpp"
#include "vmbus/server/server.hpp"
#include "vmbus/testing/echo_service.hpp"
#include "vmbus/testing/model_guest.hpp"
#include "vmbus/testing/test_vm.hpp"

#include <gtest/gtest.h>

namespace croft::vmbus {
namespace {

using protocol::MessageType;
using testing::EchoService;
using testing::GuestPacket;
using testing::ModelGuest;
using testing::TestVm;

Offer offer_of(std::uint8_t instance) {
    Offer offer;
    offer.interface_type = Guid::of(1, 2, 3, {});
    offer.instance = Guid::of(instance, 0, 0, {1});
    return offer;
}

class SaveTest : public ::testing::Test {
protected:
    SaveTest() { vm_.server().start(); }

    vdev::Record stop_and_save() {
        bool stopped = false;
        vm_.server().stop([&] { stopped = true; });
        EXPECT_TRUE(stopped);
        return vdev::Record::decode(vm_.server().save().encode());
    }

    /// The VM goes on in a new server with new services.
    void move(const vdev::Record& record) {
        vm_.replace_server();
        (void)vm_.server().add(offer_of(1), new_first_);
        (void)vm_.server().add(offer_of(2), new_second_);
        vm_.server().restore(record);
    }

    void expect_echo(ModelGuest::Channel& channel) {
        GuestPacket packet;
        packet.payload = {1, 2, 3};
        ASSERT_TRUE(guest_.send(channel, packet));
        const auto reply = guest_.receive(channel);
        ASSERT_TRUE(reply);
        EXPECT_EQ(reply->payload, packet.payload);
    }

    static protocol::MessageHeader header(MessageType type) {
        return {static_cast<std::uint32_t>(type), 0};
    }

    TestVm vm_;
    PollReactor reactor_;
    EchoService first_{reactor_};
    EchoService second_{reactor_};
    EchoService new_first_{reactor_};
    EchoService new_second_{reactor_};
    ModelGuest guest_{vm_, [this] {
                          return reactor_.run_once(0);
                      }};
};

TEST_F(SaveTest, OpenChannelsGoOn) {
    (void)vm_.server().add(offer_of(2), second_);
    (void)vm_.server().add(offer_of(1), first_);
    ASSERT_TRUE(guest_.contact(protocol::version_5_3, 2));
    const auto offers = guest_.request_offers();
    ASSERT_EQ(offers.size(), 2U);
    auto channel = guest_.open(offers[1], 4, 3);
    ASSERT_TRUE(channel);
    expect_echo(*channel);
    // A packet that the host hasn't looked at when it stops.
    GuestPacket waiting;
    waiting.transaction_id = 99;
    ASSERT_TRUE(guest_.send(*channel, waiting));
    const vdev::Record record = stop_and_save();

    move(record);
    EXPECT_EQ(vm_.server().version(), protocol::version_5_3);
    EXPECT_EQ(new_second_.open_channels(), 1U);
    EXPECT_TRUE(new_second_.was_restored());
    EXPECT_EQ(new_second_.gpadls().size(), 1U);
    EXPECT_EQ(new_first_.open_channels(), 0U);
    vm_.server().start();
    const auto reply = guest_.receive(*channel);
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->transaction_id, 99U);
    expect_echo(*channel);
    EXPECT_FALSE(guest_.wait_for_offer()) << "it has them all";
    EXPECT_FALSE(guest_.wait<protocol::OpenChannelResult>(MessageType::open_channel_result));
    EXPECT_TRUE(guest_.close(*channel));
    EXPECT_TRUE(guest_.open(offers[0]));
}

TEST_F(SaveTest, WhatIsSavedTwiceIsTheSame) {
    (void)vm_.server().add(offer_of(1), first_);
    (void)vm_.server().add(offer_of(2), second_);
    ASSERT_TRUE(guest_.connect());
    const auto offers = guest_.request_offers();
    ASSERT_TRUE(guest_.open(offers[0]));
    const vdev::Record record = stop_and_save();
    move(record);
    EXPECT_EQ(vm_.server().save(), record);
}

TEST_F(SaveTest, MessagesAndHalfMadeGpadlsAreKept) {
    (void)vm_.server().add(offer_of(1), first_);
    (void)vm_.server().add(offer_of(2), second_);
    ASSERT_TRUE(guest_.connect());
    const auto offers = guest_.request_offers();
    const auto pages = vm_.test_memory().allocate(1);
    protocol::GpadlHeader half{};
    half.header = header(MessageType::gpadl_header);
    half.relid = offers[0].relid;
    half.gpadl = 3;
    half.range_size = 16;
    half.range_count = 1;
    guest_.post(half);
    // The slot is full, so offers and answers wait behind it.
    guest_.post(protocol::ModifyChannel{header(MessageType::modify_channel), 9, 0});
    guest_.post(protocol::ModifyChannel{header(MessageType::modify_channel), 8, 0});
    const vdev::Record record = stop_and_save();
    move(record);
    vm_.server().start();
    const auto first =
        guest_.wait<protocol::ModifyChannelResponse>(MessageType::modify_channel_response);
    const auto second =
        guest_.wait<protocol::ModifyChannelResponse>(MessageType::modify_channel_response);
    ASSERT_TRUE(first && second);
    EXPECT_EQ(first->relid, 9U);
    EXPECT_EQ(second->relid, 8U);
    struct {
        protocol::GpadlBody body;
        std::uint32_t range[2];
        std::uint64_t page;
    } rest{{header(MessageType::gpadl_body), 0, 3}, {4096, 0}, pages[0]};
    static_assert(sizeof(rest) == 32);
    guest_.post(rest);
    const auto created = guest_.wait<protocol::GpadlCreated>(MessageType::gpadl_created);
    ASSERT_TRUE(created);
    EXPECT_EQ(created->status, 0U);
}

TEST_F(SaveTest, RemovedDevicesKeepTheirNames) {
    (void)vm_.server().add(offer_of(1), first_);
    const Server::DeviceId id = vm_.server().add(offer_of(2), second_);
    ASSERT_TRUE(guest_.connect());
    ASSERT_EQ(guest_.request_offers().size(), 2U);
    vm_.server().remove(id);
    const vdev::Record record = stop_and_save();
    move(record); // with a second device that is new to the guest
    vm_.server().start();
    ASSERT_TRUE(guest_.wait<protocol::RescindChannelOffer>(MessageType::rescind_channel_offer));
    EXPECT_FALSE(guest_.wait_for_offer());
    guest_.release(2);
    const auto offer = guest_.wait_for_offer();
    ASSERT_TRUE(offer);
    EXPECT_EQ(offer->instance, offer_of(2).instance);
}

TEST_F(SaveTest, AServiceThatCantGoOnIsTakenAway) {
    (void)vm_.server().add(offer_of(1), first_);
    (void)vm_.server().add(offer_of(2), second_);
    ASSERT_TRUE(guest_.connect());
    const auto offers = guest_.request_offers();
    ASSERT_TRUE(guest_.open(offers[0]));
    const vdev::Record record = stop_and_save();
    new_first_.refuse_opens(true);
    move(record);
    vm_.server().start();
    const auto rescind =
        guest_.wait<protocol::RescindChannelOffer>(MessageType::rescind_channel_offer);
    ASSERT_TRUE(rescind);
    EXPECT_EQ(rescind->relid, offers[0].relid);
}

TEST_F(SaveTest, RefusesWhatDoesntFit) {
    (void)vm_.server().add(offer_of(1), first_);
    (void)vm_.server().add(offer_of(3), second_);
    ASSERT_TRUE(guest_.connect());
    const auto offers = guest_.request_offers();
    ASSERT_TRUE(guest_.open(offers[0]));
    const vdev::Record record = stop_and_save();
    EXPECT_THROW(move(record), vdev::RecordError) << "there is no device 3";
    EXPECT_EQ(vm_.server().version(), 0U) << "as before";
    EXPECT_EQ(new_first_.open_channels(), 0U);
    EXPECT_THROW(vm_.server().restore(vdev::Record("pit", 1)), vdev::RecordError);
}

} // namespace
} // namespace croft::vmbus
