// SPDX-License-Identifier: Apache-2.0
//
// The server against guests that mean no good, and providers that fail.
#include "vmbus/testing/server_fixture.hpp"

#include <random>
#include <string>
#include <vector>

namespace croft::vmbus::testing {
namespace {

TEST_F(ServerTest, AGuestThatTakesNoMessagesIsMadeToWait) {
    const auto offer = connect_to_one();
    const auto pages = vm_.test_memory().allocate(1);
    unsigned taken = 0;
    protocol::GpadlHeader message{};
    message.header = header(MessageType::gpadl_header);
    message.relid = offer.relid;
    message.gpadl = 1; // no ranges: refused, with an answer each time
    std::vector<std::uint8_t> bytes(sizeof(message));
    std::memcpy(bytes.data(), &message, sizeof(message));
    while (vm_.server().receive(bytes) == Server::Receipt::done) {
        ASSERT_LT(++taken, 1000U);
    }
    EXPECT_EQ(taken, ServerLimits{}.answers + 1) << "and one is in its slot";
    // One taken, one more possible.
    EXPECT_TRUE(vm_.take_message(0));
    EXPECT_EQ(vm_.server().receive(bytes), Server::Receipt::done);
    EXPECT_EQ(vm_.server().receive(bytes), Server::Receipt::later);
    EXPECT_LE(vm_.reports().size(), ServerLimits{}.reports);
    EXPECT_TRUE(guest_.connect()) << "a new kernel isn't held up";
}

TEST_F(ServerTest, AnswersThatAreDueCountToo) {
    const auto offer = connect_to_one();
    echo_.hold_answers(true);
    TestVm& vm = vm_;
    const auto pages = vm.test_memory().allocate(1);
    unsigned accepted = 0;
    for (std::uint32_t id = 1; id <= 64; ++id) {
        accepted += guest_.create_gpadl(offer.relid, id, pages) ? 1U : 0U;
    }
    EXPECT_EQ(accepted, 0U);
    EXPECT_EQ(echo_.held_answers(), 64U);
    EXPECT_EQ(guest_.create_gpadl(offer.relid, 65, pages), protocol::status_unsuccessful);
    echo_.hold_answers(false);
    echo_.answer_held();
    for (unsigned i = 0; i < 64; ++i) {
        EXPECT_TRUE(guest_.wait<protocol::GpadlCreated>(MessageType::gpadl_created));
    }
}

TEST_F(ServerTest, AFailedChannelIsSilentAndCanBeOpenedAgain) {
    const auto offer = connect_to_one();
    auto channel = guest_.open(offer);
    ASSERT_TRUE(channel);
    channel->sender.ring().store(0, 0xfffffff0);
    vm_.signal(channel->connection);
    while (reactor_.run_once(0)) {
    }
    ASSERT_FALSE(vm_.reports().empty());
    EXPECT_EQ(vm_.reports().back(), "channel 1 has ended: the write index is out of range");
    EXPECT_EQ(vm_.connections(), 0U);
    ASSERT_TRUE(guest_.close(*channel));
    channel = guest_.open(offer);
    ASSERT_TRUE(channel);
    expect_echo(*channel);
}

TEST_F(ServerTest, AChannelEndsByOneLine) {
    const auto offer = connect_to_one();
    auto channel = guest_.open(offer);
    ASSERT_TRUE(channel);
    for (const std::string_view reason : {"first", "second"}) {
        echo_.control()->fail(0, reason);
    }
    EXPECT_EQ(vm_.reports(), std::vector<std::string>{"channel 1 has ended: first"});
    ASSERT_TRUE(guest_.close(*channel));
    ASSERT_TRUE(guest_.open(offer));
    echo_.control()->fail(0, "another opening");
    EXPECT_EQ(vm_.reports().back(), "channel 1 has ended: another opening");
}

TEST_F(ServerTest, RingsThatCantBeAreRefusedWithTheReason) {
    const auto offer = connect_to_one();
    using Channel = ModelGuest::Channel;
    // Of four pages: three of data.
    const std::vector<std::pair<std::string, std::function<void(Channel&)>>> spoilt = {
        {"the write index is out of range",
            [](Channel& channel) {
                channel.sender.ring().store(0, 3 * 4096);
            }},
        {"the read index is out of range",
            [](Channel& channel) {
                channel.sender.ring().store(4, 3);
            }},
        {"the write index is out of range",
            [](Channel& channel) {
                channel.receiver.ring().store(0, 0xfffffff8);
            }},
        {"the read index is out of range",
            [](Channel& channel) {
                channel.receiver.ring().store(4, 0x80000000);
            }},
    };
    for (const auto& [reason, spoil] : spoilt) {
        const std::size_t before = vm_.reports().size();
        EXPECT_EQ(guest_.open_spoilt(offer, spoil), protocol::status_unsuccessful);
        ASSERT_EQ(vm_.reports().size(), before + 1) << reason;
        EXPECT_EQ(vm_.reports().back(), "refused to open channel 1: " + reason);
    }
    EXPECT_EQ(vm_.connections(), 0U);
    auto channel = guest_.open(offer);
    ASSERT_TRUE(channel);
    expect_echo(*channel);
}

TEST_F(ServerTest, ARefusedRequestIsALineAndTheChannelGoesOn) {
    const auto offer = connect_to_one();
    echo_.control()->request_refused(0, "nobody has it open");
    EXPECT_TRUE(vm_.reports().empty());
    auto channel = guest_.open(offer);
    ASSERT_TRUE(channel);
    echo_.control()->request_refused(0, "it makes no sense");
    expect_line(0, "refused a request on channel 1: it makes no sense");
    expect_echo(*channel);
}

TEST_F(ServerTest, NonsenseDoesNotHideWhyAChannelEnds) {
    const auto offer = connect_to_one();
    for (unsigned i = 0; i < 1000; ++i) {
        guest_.post(protocol::ChannelMessage{header(MessageType::close_channel), 77});
    }
    ASSERT_EQ(vm_.reports().size(), ServerLimits().reports);
    EXPECT_EQ(vm_.reports().back(),
        "found a close for channel 77, which isn't offered; more is not reported before the next "
        "reset");
    auto channel = guest_.open(offer);
    ASSERT_TRUE(channel);
    channel->sender.ring().store(0, 3);
    vm_.signal(channel->connection);
    while (reactor_.run_once(0)) {
    }
    EXPECT_EQ(vm_.reports().back(), "channel 1 has ended: the write index is out of range");
}

TEST_F(ServerTest, ADeviceThatFailsForEverDoesNotHideTheOthers) {
    const auto offer = connect_to_one();
    (void)vm_.server().add(offer_of(2), other_);
    const auto second = guest_.wait_for_offer();
    ASSERT_TRUE(second);
    const auto spoil = [](ModelGuest::Channel& channel) {
        channel.sender.ring().store(0, 3);
    };
    const std::size_t most = ServerLimits().ends_per_device;
    for (std::size_t i = 0; i < most + 3; ++i) {
        EXPECT_EQ(guest_.open_spoilt(offer, spoil), protocol::status_unsuccessful);
    }
    ASSERT_EQ(vm_.reports().size(), most);
    EXPECT_EQ(vm_.reports().back(),
        "refused to open channel 1: the write index is out of range; more of this device is not "
        "reported before the next reset");
    EXPECT_EQ(guest_.open_spoilt(*second, spoil), protocol::status_unsuccessful);
    EXPECT_EQ(vm_.reports().back(), "refused to open channel 2: the write index is out of range");
    // Another guest, other lines.
    bool is_over = false;
    vm_.server().reset([&] { is_over = true; });
    ASSERT_TRUE(is_over);
    ASSERT_TRUE(guest_.connect());
    EXPECT_EQ(guest_.request_offers().size(), 2U);
    EXPECT_EQ(guest_.open_spoilt(offer, spoil), protocol::status_unsuccessful);
    EXPECT_EQ(vm_.reports().size(), most + 2);
    EXPECT_EQ(vm_.reports().back(), "refused to open channel 1: the write index is out of range");
}

TEST_F(ServerTest, RefusesSocketConnections) {
    (void)connect_to_one();
    protocol::TlConnectRequest request{};
    request.header = header(MessageType::tl_connect_request);
    request.endpoint = Guid::of(1, 2, 3, {4});
    guest_.post(request);
    const auto result = guest_.wait<protocol::TlConnectResult>(MessageType::tl_connect_result);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->endpoint, request.endpoint);
    EXPECT_EQ(result->status, protocol::status_connection_refused);
}

TEST_F(ServerTest, SurvivesAnything) {
    (void)vm_.server().add(offer_of(1), echo_);
    (void)vm_.server().add(offer_of(2), other_);
    std::mt19937 engine(7);
    const auto random = [&] {
        return static_cast<std::uint32_t>(engine());
    };
    for (unsigned i = 0; i < 60000; ++i) {
        std::array<std::uint32_t, 60> words{};
        // Small numbers hit what there is.
        for (std::uint32_t& word : words) {
            word = random() % 4 == 0 ? random() : random() % 6;
        }
        words[0] = random() % 26;
        if (words[0] == 14) {
            words[2] = protocol::supported_versions[random() % 7];
            words[4] = 2;
        }
        if (words[0] == 8) {
            words[4] = 5 * 8 | 1U << 16;
            words[5] = 4 * 4096;
            words[6] = 0;
            for (unsigned page = 0; page < 4; ++page) {
                words[7 + 2 * page] = 16 + random() % 40;
                words[8 + 2 * page] = 0;
            }
        }
        const std::size_t size = random() % 8 == 0 ? random() % 241 : 240;
        (void)vm_.server().receive({reinterpret_cast<const std::uint8_t*>(words.data()), size});
        if (random() % 2 == 0) {
            (void)vm_.take_message(random() % 4);
        }
        if (random() % 16 == 0) {
            vm_.signal(0x2001 + random() % 3);
            (void)reactor_.run_once(0);
        }
        echo_.hold_answers(random() % 8 == 0);
        if (random() % 4 == 0) {
            echo_.answer_held();
        }
    }
    echo_.hold_answers(false);
    while (echo_.held_answers() != 0) {
        echo_.answer_held();
    }
    guest_.use_processor(0);
    guest_.drop_messages();
    EXPECT_TRUE(guest_.connect());
    EXPECT_EQ(guest_.request_offers().size(), 2U);
}

} // namespace
} // namespace croft::vmbus::testing
