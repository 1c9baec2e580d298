// SPDX-License-Identifier: Apache-2.0
//
// The server against a guest that speaks the half of Linux.
#include "vmbus/testing/server_fixture.hpp"

#include "vdev/error.hpp"

namespace croft::vmbus::testing {
namespace {

TEST_F(ServerTest, NegotiatesEachVersion) {
    for (const protocol::Version version : protocol::supported_versions) {
        EXPECT_TRUE(guest_.contact(version, 1));
        EXPECT_EQ(vm_.server().version(), version);
    }
    for (const protocol::Version version :
        {protocol::make_version(3, 0), protocol::make_version(2, 4), protocol::make_version(6, 1),
            protocol::make_version(7, 0), protocol::Version{0}, protocol::Version{0xffffffff}}) {
        EXPECT_FALSE(guest_.contact(version)) << "and the guest hears of it";
        EXPECT_EQ(vm_.server().version(), 0U);
    }
    EXPECT_TRUE(guest_.connect());
}

TEST_F(ServerTest, AnswersWhereTheGuestListens) {
    EXPECT_TRUE(guest_.connect(3));
    protocol::InitiateContact elsewhere{};
    elsewhere.header = header(MessageType::initiate_contact);
    elsewhere.version = protocol::version_6_0;
    elsewhere.target_vp = TestVm::processors;
    elsewhere.sint = 2;
    guest_.post(elsewhere);
    EXPECT_EQ(vm_.server().version(), protocol::version_6_0) << "nobody would hear the answer";
    elsewhere.target_vp = 0;
    elsewhere.sint = 5;
    guest_.post(elsewhere);
    EXPECT_EQ(vm_.server().version(), 0U) << "only one interrupt source is served";
}

TEST_F(ServerTest, OffersInAFixedOrder) {
    (void)vm_.server().add(offer_of(9, 1), other_);
    (void)vm_.server().add(offer_of(3, 2), echo_);
    EXPECT_THROW((void)vm_.server().add(offer_of(3), echo_), vdev::DeviceError);
    ASSERT_TRUE(guest_.connect());
    const auto offers = guest_.request_offers();
    ASSERT_EQ(offers.size(), 2U);
    EXPECT_EQ(offers[0].instance, offer_of(9).instance);
    EXPECT_EQ(offers[0].relid, 1U);
    EXPECT_EQ(offers[0].connection_id, 0x2001U);
    EXPECT_EQ(offers[0].dedicated_interrupt, 1);
    EXPECT_EQ(offers[0].monitor_allocated, 0);
    EXPECT_EQ(offers[0].sub_channel_index, 0);
    EXPECT_EQ(offers[0].mmio_megabytes, 9);
    EXPECT_EQ(offers[0].user_defined[0], 9);
    EXPECT_EQ(offers[1].relid, 2U);
    guest_.post(header(MessageType::request_offers));
    EXPECT_FALSE(guest_.wait_for_offer()) << "a second request is a mistake";
}

TEST_F(ServerTest, OpensCarriesDataAndCloses) {
    const auto offer = connect_to_one();
    auto channel = guest_.open(offer, 4, 2);
    ASSERT_TRUE(channel);
    EXPECT_EQ(vm_.connections(), 1U);
    for (std::uint64_t i = 0; i < 500; ++i) {
        expect_echo(*channel, i);
    }
    ASSERT_TRUE(guest_.close(*channel));
    EXPECT_EQ(echo_.open_channels(), 0U);
    EXPECT_TRUE(echo_.gpadls().empty());
    EXPECT_EQ(vm_.connections(), 0U);
    auto again = guest_.open(offer, 2);
    ASSERT_TRUE(again);
    expect_echo(*again);
    EXPECT_TRUE(vm_.reports().empty());
}

TEST_F(ServerTest, PacketsReachGuestMemory) {
    const auto offer = connect_to_one();
    auto channel = guest_.open(offer);
    ASSERT_TRUE(channel);
    const auto pages = vm_.test_memory().allocate(1);
    GuestPacket packet;
    packet.type = 9;
    packet.header = {std::uint64_t{2} << 32, 10 | std::uint64_t{5} << 32, pages[0], 10, 0};
    ASSERT_TRUE(guest_.send(*channel, packet));
    ASSERT_TRUE(guest_.receive(*channel));
    EXPECT_EQ(vm_.memory().page(pages[0])[5], 0x5a);
}

TEST_F(ServerTest, LargeGpadls) {
    const auto offer = connect_to_one();
    const auto pages = vm_.test_memory().allocate(900);
    EXPECT_EQ(guest_.create_gpadl(offer.relid, 5, pages), 0U);
    EXPECT_EQ(echo_.gpadls().at({0, 5}).ranges.at(0).pages, pages);
    EXPECT_EQ(guest_.create_gpadl(offer.relid, 5, pages), protocol::status_unsuccessful);
    expect_line(0, "refused GPADL 0x5 of channel 1: there is a GPADL with this number");
    EXPECT_TRUE(guest_.teardown_gpadl(offer.relid, 5));
    EXPECT_FALSE(guest_.teardown_gpadl(offer.relid, 5));
    expect_line(1, "found a teardown of GPADL 0x5 of channel 1, which isn't there");
    EXPECT_EQ(guest_.create_gpadl(offer.relid, 5, std::vector<std::uint64_t>{0}),
        protocol::status_unsuccessful)
        << "a hole";
    expect_line(2, "refused GPADL 0x5 of channel 1: a GPADL's page isn't memory");
    guest_.post(protocol::GpadlBody{header(MessageType::gpadl_body), 0, 6});
    expect_line(3, "found more of GPADL 0x6: there is no such GPADL");
    echo_.refuse_gpadls(true);
    EXPECT_EQ(guest_.create_gpadl(offer.relid, 5, pages), protocol::status_unsuccessful);
    expect_line(4, "refused GPADL 0x5 of channel 1: its service doesn't take it");
    echo_.refuse_gpadls(false);
    EXPECT_EQ(guest_.create_gpadl(offer.relid, 5, pages), 0U);
    EXPECT_EQ(vm_.reports().size(), 5U);
}

TEST_F(ServerTest, RefusesOpensThatCantBe) {
    const auto offer = connect_to_one();
    const auto pages = vm_.test_memory().allocate(8);
    ASSERT_EQ(guest_.create_gpadl(offer.relid, 5, pages), 0U);
    const auto expect_refused = [&](std::string_view reason, std::uint32_t gpadl,
                                    std::uint32_t offset, std::uint32_t vp = 0) {
        const std::size_t before = vm_.reports().size();
        EXPECT_EQ(guest_.open_with(offer.relid, gpadl, offset, vp), protocol::status_unsuccessful);
        expect_line(before, std::string("refused to open channel 1: ").append(reason));
    };
    expect_refused("there is no such GPADL", 6, 4);
    expect_refused("there is no such processor", 5, 4, TestVm::processors);
    for (const std::uint32_t offset : {0U, 1U, 7U, 8U, 0xffffffffU}) {
        expect_refused("a ring has no page of data", 5, offset);
    }
    vm_.refuse_events(true);
    expect_refused("its signals can't be connected", 5, 4);
    vm_.refuse_events(false);
    echo_.refuse_opens(true);
    expect_refused("it was told to", 5, 4);
    echo_.refuse_opens(false);
    EXPECT_EQ(vm_.connections(), 0U);
    EXPECT_EQ(guest_.open_with(offer.relid, 5, 4), 0U);
    expect_refused("it is open", 5, 4);
    EXPECT_FALSE(guest_.open_with(77, 5, 4)) << "no such channel, no answer";
    EXPECT_FALSE(guest_.open_with(0xffffffff, 5, 4));
    EXPECT_EQ(echo_.open_channels(), 1U);
}

TEST_F(ServerTest, RingsStayUntilTheServiceHasClosed) {
    const auto offer = connect_to_one();
    auto channel = guest_.open(offer);
    ASSERT_TRUE(channel);
    EXPECT_FALSE(guest_.teardown_gpadl(offer.relid, channel->gpadl)) << "it is in use";
    echo_.hold_answers(true);
    guest_.post(protocol::ChannelMessage{header(MessageType::close_channel), offer.relid});
    EXPECT_FALSE(guest_.wait<protocol::GpadlTorndown>(MessageType::gpadl_torndown));
    EXPECT_EQ(echo_.gpadls().size(), 1U);
    echo_.answer_held(); // closed
    EXPECT_FALSE(guest_.wait<protocol::GpadlTorndown>(MessageType::gpadl_torndown));
    echo_.answer_held(); // torn down
    EXPECT_TRUE(guest_.wait<protocol::GpadlTorndown>(MessageType::gpadl_torndown));
}

TEST_F(ServerTest, OpensAgainWhatIsStillClosing) {
    const auto offer = connect_to_one();
    auto channel = guest_.open(offer);
    ASSERT_TRUE(channel);
    echo_.hold_answers(true);
    guest_.post(protocol::ChannelMessage{header(MessageType::close_channel), offer.relid});
    EXPECT_FALSE(guest_.open_with(offer.relid, channel->gpadl, 4)) << "not yet";
    EXPECT_EQ(guest_.open_with(offer.relid, channel->gpadl, 4), protocol::status_unsuccessful)
        << "one at a time";
    echo_.hold_answers(false);
    echo_.answer_held();
    const auto result = guest_.wait<protocol::OpenChannelResult>(MessageType::open_channel_result);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, 0U);
    expect_echo(*channel);
}

TEST_F(ServerTest, RetargetsInterrupts) {
    const auto offer = connect_to_one();
    auto channel = guest_.open(offer, 4, 0);
    ASSERT_TRUE(channel);
    const auto modify = [&](std::uint32_t relid, std::uint32_t vp) {
        guest_.post(protocol::ModifyChannel{header(MessageType::modify_channel), relid, vp});
        return guest_.wait<protocol::ModifyChannelResponse>(MessageType::modify_channel_response);
    };
    expect_echo(*channel);
    EXPECT_EQ(modify(offer.relid, 3)->status, 0U);
    (void)vm_.take_flag(0, 1);
    channel->vp = 3;
    expect_echo(*channel);
    EXPECT_FALSE(vm_.take_flag(0, 1));
    EXPECT_EQ(modify(offer.relid, 4)->status, protocol::status_unsuccessful);
    expect_line(0, "refused to interrupt processor 4 for channel 1: there is no such processor");
    EXPECT_EQ(modify(offer.relid, protocol::no_target_vp)->status, protocol::status_unsuccessful);
    EXPECT_EQ(modify(5, 0)->status, protocol::status_unsuccessful);
    EXPECT_EQ(
        vm_.reports().back(), "found a change of the processor for channel 5, which isn't offered");
    ASSERT_TRUE(guest_.close(*channel));
    EXPECT_EQ(modify(offer.relid, 0)->status, protocol::status_unsuccessful);
    EXPECT_EQ(
        vm_.reports().back(), "refused to interrupt processor 0 for channel 1: it isn't open");
    // Older guests get no answer.
    ASSERT_TRUE(guest_.contact(protocol::version_5_2));
    const auto offers = guest_.request_offers();
    channel = guest_.open(offers.at(0));
    EXPECT_FALSE(modify(offer.relid, 2));
    channel->vp = 2;
    expect_echo(*channel);
}

TEST_F(ServerTest, HotOfferAndRescind) {
    auto offer = connect_to_one();
    const Server::DeviceId second = vm_.server().add(offer_of(2), other_);
    const auto hot = guest_.wait_for_offer();
    ASSERT_TRUE(hot);
    EXPECT_EQ(hot->relid, 2U);
    auto channel = guest_.open(*hot);
    ASSERT_TRUE(channel);
    vm_.server().remove(second);
    vm_.server().remove(second);
    const auto rescind =
        guest_.wait<protocol::RescindChannelOffer>(MessageType::rescind_channel_offer);
    ASSERT_TRUE(rescind);
    EXPECT_EQ(rescind->relid, 2U);
    EXPECT_FALSE(other_.is_attached()) << "the guest needn't take notice for that";
    EXPECT_EQ(vm_.connections(), 0U);
    // What a driver does then; only the release matters.
    guest_.post(protocol::ChannelMessage{header(MessageType::close_channel), 2});
    EXPECT_FALSE(guest_.open_with(2, channel->gpadl, 4)) << "ignored";
    // The device comes back: not before the guest has forgotten the old one.
    EchoService third(reactor_);
    (void)vm_.server().add(offer_of(2), third);
    EXPECT_FALSE(guest_.wait_for_offer());
    guest_.release(2);
    const auto again = guest_.wait_for_offer();
    ASSERT_TRUE(again);
    EXPECT_EQ(again->relid, 2U);
    EXPECT_TRUE(guest_.open(*again));
    EXPECT_TRUE(guest_.open(offer)) << "the other device has noticed nothing";
    guest_.unload();
}

TEST_F(ServerTest, WhatIsWithdrawnIsServedUntilTheGuestClosesIt) {
    const auto offer = connect_to_one();
    auto channel = guest_.open(offer);
    ASSERT_TRUE(channel);
    unsigned done = 0;
    vm_.server().withdraw(id_, [&] { EXPECT_EQ(done++, 0U); });
    ASSERT_TRUE(guest_.wait<protocol::RescindChannelOffer>(MessageType::rescind_channel_offer));
    GuestPacket packet;
    packet.transaction_id = 7;
    ASSERT_TRUE(guest_.send(*channel, packet));
    const auto reply = guest_.receive(*channel);
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->transaction_id, 7U);
    EXPECT_EQ(done, 0U);
    EXPECT_TRUE(echo_.is_attached());
    // Linux closes it, and takes no GPADL back of a device that it knows to be gone.
    guest_.post(protocol::ChannelMessage{header(MessageType::close_channel), offer.relid});
    guest_.release(offer.relid);
    EXPECT_EQ(done, 1U);
    EXPECT_FALSE(echo_.is_attached());
    EXPECT_EQ(vm_.connections(), 0U);
    EXPECT_TRUE(vm_.reports().empty());
}

TEST_F(ServerTest, WhatTheGuestKeepsIsTakenFromIt) {
    const auto offer = connect_to_one();
    ASSERT_TRUE(guest_.open(offer));
    std::vector<unsigned> done;
    vm_.server().withdraw(id_, [&] { done.push_back(1); });
    EXPECT_TRUE(done.empty());
    vm_.server().remove(id_, [&] { done.push_back(2); });
    EXPECT_EQ(done, (std::vector<unsigned>{1, 2}));
    EXPECT_FALSE(echo_.is_attached());
    EXPECT_EQ(vm_.connections(), 0U);
    vm_.server().remove(id_, [&] { done.push_back(3); });
    vm_.server().withdraw(id_, [&] { done.push_back(4); });
    EXPECT_EQ(done.size(), 4U) << "there is nothing left";
    guest_.unload();
}

TEST_F(ServerTest, AReleasedChannelIsNotOfferedAgain) {
    const auto offer = connect_to_one();
    guest_.release(offer.relid);
    EXPECT_FALSE(guest_.wait_for_offer());
    EXPECT_FALSE(guest_.open_with(offer.relid, 1, 2));
    ASSERT_TRUE(guest_.connect());
    EXPECT_EQ(guest_.request_offers().size(), 1U) << "but to who comes next";
}

TEST_F(ServerTest, SubChannels) {
    const auto offer = connect_to_one();
    auto channel = guest_.open(offer);
    ASSERT_TRUE(channel);
    GuestPacket ask;
    ask.payload = {EchoService::offer_sub_channels, 3};
    ASSERT_TRUE(guest_.send(*channel, ask));
    ASSERT_TRUE(guest_.receive(*channel));
    std::vector<ModelGuest::Channel> subs;
    for (std::uint16_t index = 1; index <= 3; ++index) {
        const auto sub = guest_.wait_for_offer();
        ASSERT_TRUE(sub);
        EXPECT_EQ(sub->sub_channel_index, index);
        EXPECT_EQ(sub->instance, offer.instance);
        EXPECT_EQ(sub->relid, index + 1U);
        auto opened = guest_.open(*sub, 2, index);
        ASSERT_TRUE(opened);
        subs.push_back(std::move(*opened));
    }
    for (auto& sub : subs) {
        expect_echo(sub, sub.relid);
    }
    for (auto& sub : subs) {
        EXPECT_TRUE(guest_.close(sub));
    }
    EXPECT_TRUE(guest_.close(*channel));
    for (std::size_t i = 0; i < subs.size(); ++i) {
        const auto rescind =
            guest_.wait<protocol::RescindChannelOffer>(MessageType::rescind_channel_offer);
        ASSERT_TRUE(rescind);
        guest_.release(rescind->relid);
    }
    // And all over again.
    channel = guest_.open(offer);
    ASSERT_TRUE(channel);
    ASSERT_TRUE(guest_.send(*channel, ask));
    EXPECT_TRUE(guest_.wait_for_offer());
    vm_.server().remove(id_);
    EXPECT_FALSE(echo_.is_attached());
}

TEST_F(ServerTest, RemovalIsDoneWhenTheServiceHasLetGo) {
    const auto offer = connect_to_one();
    ASSERT_TRUE(guest_.open(offer));
    echo_.hold_answers(true);
    bool done = false;
    vm_.server().remove(id_, [&] {
        done = true;
        EXPECT_FALSE(echo_.is_attached());
    });
    EXPECT_FALSE(done);
    EXPECT_TRUE(echo_.is_attached());
    // Whoever asks for it once more waits for the same.
    bool again = false;
    vm_.server().remove(id_, [&] { again = done; });
    EXPECT_FALSE(again);
    echo_.answer_held();
    EXPECT_FALSE(done) << "its ring is still to be torn down";
    echo_.answer_held();
    EXPECT_TRUE(done);
    EXPECT_TRUE(again);
}

TEST_F(ServerTest, UnloadWaitsForServices) {
    const auto offer = connect_to_one();
    auto channel = guest_.open(offer);
    ASSERT_TRUE(channel);
    echo_.hold_answers(true);
    EXPECT_FALSE(guest_.unload());
    EXPECT_EQ(echo_.open_channels(), 0U);
    echo_.answer_held();
    EXPECT_FALSE(guest_.wait<protocol::MessageHeader>(MessageType::unload_response));
    echo_.hold_answers(false);
    echo_.answer_held();
    EXPECT_TRUE(guest_.wait<protocol::MessageHeader>(MessageType::unload_response));
    EXPECT_EQ(vm_.server().version(), 0U);
    ASSERT_TRUE(guest_.connect(1));
    const auto offers = guest_.request_offers();
    ASSERT_EQ(offers.size(), 1U);
    EXPECT_EQ(offers[0].relid, offer.relid);
    channel = guest_.open(offers[0]);
    ASSERT_TRUE(channel);
    expect_echo(*channel);
}

TEST_F(ServerTest, ACrashKernelTakesOver) {
    const auto offer = connect_to_one();
    ASSERT_TRUE(guest_.open(offer));
    ASSERT_TRUE(vm_.server().add(offer_of(2), other_))
        << "an offer that the old kernel never takes";
    echo_.hold_answers(true);
    EXPECT_FALSE(guest_.contact(protocol::version_6_0, 1));
    EXPECT_FALSE(guest_.contact(protocol::version_4_1, 2)) << "still closing; the last one counts";
    echo_.hold_answers(false);
    echo_.answer_held();
    const auto response = guest_.wait<protocol::VersionResponse>(MessageType::version_response);
    ASSERT_TRUE(response);
    EXPECT_EQ(response->connection_id, protocol::version_4_1);
    EXPECT_FALSE(guest_.wait<protocol::VersionResponse>(MessageType::version_response));
    const auto offers = guest_.request_offers();
    ASSERT_EQ(offers.size(), 2U);
    auto channel = guest_.open(offers[0]);
    ASSERT_TRUE(channel);
    expect_echo(*channel);
}

TEST_F(ServerTest, ContactWhileOpeningAndCreating) {
    const auto offer = connect_to_one();
    echo_.hold_answers(true);
    const auto pages = vm_.test_memory().allocate(8);
    EXPECT_FALSE(guest_.create_gpadl(offer.relid, 5, pages));
    EXPECT_FALSE(guest_.connect());
    echo_.hold_answers(false);
    echo_.answer_held();
    EXPECT_TRUE(guest_.wait<protocol::VersionResponse>(MessageType::version_response));
    EXPECT_TRUE(echo_.gpadls().empty());
    ASSERT_EQ(guest_.request_offers().size(), 1U);
    ASSERT_EQ(guest_.create_gpadl(offer.relid, 5, pages), 0U);
    echo_.hold_answers(true);
    EXPECT_FALSE(guest_.open_with(offer.relid, 5, 4));
    EXPECT_FALSE(guest_.connect());
    echo_.hold_answers(false);
    echo_.answer_held();
    EXPECT_TRUE(guest_.wait<protocol::VersionResponse>(MessageType::version_response));
    EXPECT_EQ(echo_.open_channels(), 0U);
    EXPECT_EQ(vm_.connections(), 0U);
}

TEST_F(ServerTest, ResetLeavesNothing) {
    const auto offer = connect_to_one();
    ASSERT_TRUE(guest_.open(offer));
    unsigned done = 0;
    vm_.server().stop([&] { ++done; });
    EXPECT_EQ(done, 1U);
    EXPECT_FALSE(echo_.is_running());
    const auto unload = header(MessageType::unload);
    std::vector<std::uint8_t> bytes(sizeof(unload));
    std::memcpy(bytes.data(), &unload, sizeof(unload));
    EXPECT_EQ(vm_.server().receive(bytes), Server::Receipt::later) << "it is stopped";
    vm_.server().reset([&] { ++done; });
    EXPECT_EQ(done, 2U);
    EXPECT_EQ(vm_.server().version(), 0U);
    EXPECT_EQ(echo_.open_channels(), 0U);
    EXPECT_TRUE(echo_.is_attached());
    vm_.server().start();
    guest_.drop_messages();
    ASSERT_TRUE(guest_.connect());
    ASSERT_EQ(guest_.request_offers().size(), 1U);
    EXPECT_TRUE(guest_.open(offer));
}

TEST_F(ServerTest, StopWaitsForWhatIsUnderWay) {
    const auto offer = connect_to_one();
    const auto pages = vm_.test_memory().allocate(8);
    echo_.hold_answers(true);
    EXPECT_FALSE(guest_.create_gpadl(offer.relid, 5, pages));
    bool done = false;
    vm_.server().stop([&] { done = true; });
    EXPECT_FALSE(done);
    EXPECT_TRUE(echo_.is_running()) << "not asked before";
    echo_.answer_held(); // the GPADL
    EXPECT_FALSE(done);
    EXPECT_FALSE(echo_.is_running());
    echo_.hold_answers(false);
    echo_.answer_held(); // the stop
    EXPECT_TRUE(done);
}

TEST_F(ServerTest, ManyDevicesUseUpTheNames) {
    std::vector<std::unique_ptr<EchoService>> services;
    for (unsigned i = 0; i < protocol::relid_count + 2; ++i) {
        Offer offer = offer_of(1);
        offer.instance = Guid::of(i, 7, 7, {});
        services.push_back(std::make_unique<EchoService>(reactor_));
        (void)vm_.server().add(offer, *services.back());
    }
    ASSERT_TRUE(guest_.connect());
    EXPECT_EQ(guest_.request_offers().size(), protocol::relid_count - 1);
    guest_.release(100);
    const auto next = guest_.wait_for_offer();
    ASSERT_TRUE(next);
    EXPECT_EQ(next->relid, 100U);
    vm_.replace_server();
}

} // namespace
} // namespace croft::vmbus::testing
