// SPDX-License-Identifier: Apache-2.0
//
// The integration components against a guest's driver that answers as Linux's does (drivers/hv/
// hv_util.c, hv_kvp.c), and one that answers nonsense.
#include "disk/utf16.hpp"
#include "vdev/fake_platform.hpp"
#include "vmbus/remote/poll_reactor.hpp"
#include "vmbus/testing/model_guest.hpp"
#include "vmbus/testing/test_vm.hpp"
#include "vsp/integration/heartbeat.hpp"
#include "vsp/integration/key_value.hpp"
#include "vsp/integration/shutdown.hpp"
#include "vsp/integration/time_sync.hpp"

#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <optional>
#include <span>

namespace croft::vsp::integration {
namespace {

using vmbus::testing::GuestPacket;
using vmbus::testing::ModelGuest;

/// A message of the host as the guest has it: to be changed and sent back.
struct Message {
    vmbus::protocol::PipeHeader pipe{};
    message::Header header{};
    std::vector<std::uint8_t> data;
    std::uint64_t transaction_id = 0;

    template <typename Data>
    [[nodiscard]] Data as() const {
        Data value{};
        EXPECT_GE(data.size(), sizeof(value));
        std::memcpy(&value, data.data(), std::min(data.size(), sizeof(value)));
        return value;
    }
    template <typename Data>
    void set(const Data& value) {
        data.resize(sizeof(value));
        std::memcpy(data.data(), &value, sizeof(value));
    }
};

class IntegrationTest : public ::testing::Test {
protected:
    void connect(const vmbus::Offer& offer, IntegrationService& service) {
        vm_.server().add(offer, service);
        vm_.server().start();
        ASSERT_TRUE(guest_.connect());
        const auto offers = guest_.request_offers();
        ASSERT_EQ(offers.size(), 1U);
        offer_ = offers[0];
    }
    /// Offers the service and opens its channel.
    void open(const vmbus::Offer& offer, IntegrationService& service) {
        connect(offer, service);
        auto channel = guest_.open(offer_);
        ASSERT_TRUE(channel);
        channel_.emplace(*std::move(channel));
    }

    [[nodiscard]] std::optional<Message> receive() {
        const std::optional<GuestPacket> packet = guest_.receive(*channel_);
        if (!packet) {
            return std::nullopt;
        }
        EXPECT_EQ(packet->type, 6);
        std::vector<std::uint8_t> bytes(packet->payload.size() * 8);
        std::memcpy(bytes.data(), packet->payload.data(), bytes.size());
        Message result;
        constexpr std::size_t headers = sizeof(result.pipe) + sizeof(result.header);
        EXPECT_GE(bytes.size(), headers);
        std::memcpy(&result.pipe, bytes.data(), sizeof(result.pipe));
        std::memcpy(&result.header, bytes.data() + sizeof(result.pipe), sizeof(result.header));
        EXPECT_EQ(result.pipe.size, sizeof(result.header) + result.header.size);
        EXPECT_EQ(result.header.flags, message::flag_transaction | message::flag_request);
        EXPECT_LE(headers + result.header.size, bytes.size());
        result.data.assign(bytes.begin() + headers, bytes.begin() + headers + result.header.size);
        result.transaction_id = packet->transaction_id;
        return result;
    }

    void answer(Message reply, std::uint32_t status = 0) {
        reply.header.status = status;
        reply.header.flags = message::flag_transaction | message::flag_response;
        send(reply);
    }

    /// As it is, in a packet of type `type`.
    void send(const Message& reply, std::uint16_t type = 6) {
        std::vector<std::uint8_t> bytes(sizeof(reply.pipe) + sizeof(reply.header));
        std::memcpy(bytes.data(), &reply.pipe, sizeof(reply.pipe));
        std::memcpy(bytes.data() + sizeof(reply.pipe), &reply.header, sizeof(reply.header));
        bytes.insert(bytes.end(), reply.data.begin(), reply.data.end());
        GuestPacket packet;
        packet.type = type;
        packet.transaction_id = reply.transaction_id;
        packet.payload.resize((bytes.size() + 7) / 8);
        std::memcpy(packet.payload.data(), bytes.data(), bytes.size());
        ASSERT_TRUE(guest_.send(*channel_, packet));
        while (reactor_.run_once(0)) {
        }
    }

    /// What the channel has failed for, which makes a second line of what else is wrong.
    void expect_failed(std::string_view reason, const IntegrationService& service) {
        ASSERT_EQ(vm_.reports().size(), 1U) << reason;
        EXPECT_NE(vm_.reports()[0].find(reason), std::string::npos) << vm_.reports()[0];
        EXPECT_EQ(vm_.reports()[0].find('\n'), std::string::npos);
        EXPECT_FALSE(service.is_ready());
    }

    /// As vmbus_prep_negotiate_resp, for a driver that knows just one version of the messages.
    void agree(message::Version version) {
        auto offered = receive();
        ASSERT_TRUE(offered);
        ASSERT_EQ(offered->header.type, 0U);
        const auto counts = offered->as<message::Negotiate>();
        ASSERT_EQ(offered->data.size(), 8U + 4U * (counts.framework_count + counts.message_count));
        bool found = false;
        for (unsigned i = 0; i < counts.message_count; ++i) {
            message::Version one{};
            std::memcpy(&one, &offered->data[8U + 4U * (counts.framework_count + i)], sizeof(one));
            found = found || one == version;
        }
        ASSERT_TRUE(found);
        const message::Version chosen[2] = {{3, 0}, version};
        const message::Negotiate one_each{1, 1, 0};
        std::memcpy(offered->data.data(), &one_each, sizeof(one_each));
        std::memcpy(offered->data.data() + sizeof(one_each), chosen, sizeof(chosen));
        answer(*offered);
    }

    void pause() {
        bool stopped = false;
        vm_.server().stop([&] { stopped = true; });
        ASSERT_TRUE(stopped);
    }

    vmbus::testing::TestVm vm_;
    vmbus::PollReactor reactor_;
    vdev::FakeTime time_;
    ModelGuest guest_{vm_, [this] {
                          return reactor_.run_once(0);
                      }};
    vmbus::protocol::OfferChannel offer_{};
    std::optional<ModelGuest::Channel> channel_;
};

TEST_F(IntegrationTest, AsksTheGuestToShutDown) {
    Shutdown shutdown(reactor_);
    std::vector<std::uint32_t> statuses;
    const auto note = [&](std::uint32_t status) {
        statuses.push_back(status);
    };
    using Asked = Shutdown::Asked;
    EXPECT_EQ(shutdown.request({}, note), Asked::nobody_there);
    open(message::shutdown_offer, shutdown);
    EXPECT_FALSE(shutdown.is_ready());
    agree({3, 2});
    EXPECT_TRUE(shutdown.is_ready());

    EXPECT_EQ(shutdown.request({Shutdown::Action::reboot, true, "Grüße"}, note), Asked::yes);
    auto asked = receive();
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->header.type, 3U);
    EXPECT_EQ(asked->header.message, (message::Version{3, 2}));
    const auto data = asked->as<message::Shutdown>();
    EXPECT_EQ(data.flags, 3U);
    EXPECT_EQ(data.reason, 0x80000000U);
    EXPECT_EQ(data.text[4], 0xfc);
    EXPECT_EQ(shutdown.request({}, note), Asked::unanswered);
    EXPECT_FALSE(receive());
    EXPECT_TRUE(statuses.empty());

    Message other = *asked;
    ++other.header.transaction;
    answer(other);
    EXPECT_TRUE(statuses.empty()) << "that was the answer to something else";
    answer(*asked, 0x80004005);
    EXPECT_EQ(statuses, std::vector<std::uint32_t>{0x80004005});
    answer(*asked);
    EXPECT_EQ(statuses.size(), 1U);

    statuses.clear();
    EXPECT_EQ(shutdown.request({}, note), Asked::yes);
    ASSERT_TRUE(guest_.close(*channel_));
    EXPECT_EQ(statuses, std::vector{message::status_not_connected});
    EXPECT_EQ(shutdown.request({}, note), Asked::nobody_there);
    EXPECT_EQ(statuses.size(), 1U) << "who was told so isn't told again";
}

TEST_F(IntegrationTest, CutsOffATextThatIsTooLong) {
    Shutdown shutdown(reactor_);
    open(message::shutdown_offer, shutdown);
    agree({1, 0});
    ASSERT_EQ(shutdown.request({Shutdown::Action::power_off, false, std::string(5000, 'x')},
                  [](std::uint32_t) {}),
        Shutdown::Asked::yes);
    const auto asked = receive();
    ASSERT_TRUE(asked);
    const auto data = asked->as<message::Shutdown>();
    EXPECT_EQ(data.flags, 0U);
    EXPECT_EQ(data.text[2044], 'x');
    EXPECT_EQ(data.text[2046], 0);
}

TEST_F(IntegrationTest, HearsTheGuestsHeart) {
    Heartbeat heartbeat(reactor_, time_, time_);
    open(message::heartbeat_offer, heartbeat);
    EXPECT_EQ(heartbeat.state(), Heartbeat::State::no_contact);
    agree({3, 0});
    for (std::uint64_t count = 1; count < 20; ++count) {
        auto question = receive();
        ASSERT_TRUE(question);
        auto data = question->as<message::Heartbeat>();
        EXPECT_EQ(data.sequence, count);
        ++data.sequence;
        question->set(data);
        answer(*question);
        EXPECT_EQ(heartbeat.state(), Heartbeat::State::ok);
        time_.advance(Heartbeat::interval);
    }
    time_.advance(Heartbeat::patience * Heartbeat::interval);
    EXPECT_EQ(heartbeat.state(), Heartbeat::State::lost_communication);
    answer(*receive());
    EXPECT_EQ(heartbeat.state(), Heartbeat::State::ok);
    // A guest that never looks lets the ring run full, which harms nobody.
    time_.advance(1000 * Heartbeat::interval);
    EXPECT_EQ(heartbeat.state(), Heartbeat::State::lost_communication);
    ASSERT_TRUE(guest_.close(*channel_));
    EXPECT_EQ(heartbeat.state(), Heartbeat::State::no_contact);
    EXPECT_FALSE(time_.is_any_armed());
}

TEST_F(IntegrationTest, TellsTheTime) {
    TimeSync sync(reactor_, time_, time_, [] { return std::uint64_t{777}; });
    time_.wall_start = 1'000'000'000'000'000'000;
    open(message::time_sync_offer, sync);
    agree({4, 0});
    auto told = receive();
    ASSERT_TRUE(told);
    auto sample = told->as<message::TimeSync4>();
    EXPECT_EQ(told->data.size(), sizeof(sample));
    EXPECT_EQ(sample.flags, message::time_sync_set);
    EXPECT_EQ(sample.reference_time, 777U);
    EXPECT_EQ(sample.parent_time, 10'000'000'000'000'000U + 116'444'736'000'000'000U);
    time_.advance(TimeSync::interval);
    EXPECT_EQ(receive()->as<message::TimeSync4>().flags, message::time_sync_sample);

    pause();
    EXPECT_FALSE(time_.is_any_armed());
    time_.wall_start += 30 * std::int64_t{vdev::nanoseconds_per_second};
    vm_.server().start();
    sample = receive()->as<message::TimeSync4>();
    EXPECT_EQ(sample.flags, message::time_sync_set) << "after a pause the guest is behind";
    EXPECT_EQ(
        sample.parent_time, 10'000'000'000'000'000U + 116'444'736'000'000'000U + 350'000'000U);
}

TEST_F(IntegrationTest, TellsOlderDriversTheTime) {
    TimeSync sync(reactor_, time_, time_, [] { return std::uint64_t{777}; });
    open(message::time_sync_offer, sync);
    agree({3, 0});
    const auto told = receive();
    ASSERT_TRUE(told);
    EXPECT_EQ(told->data.size(), sizeof(message::TimeSync1));
    const auto sample = told->as<message::TimeSync1>();
    EXPECT_EQ(sample.parent_time, 116'444'736'000'000'000U);
    EXPECT_EQ(sample.flags, message::time_sync_set);
}

TEST_F(IntegrationTest, ReadsWhatTheGuestSaysOfItself) {
    KeyValue exchange(reactor_, time_, time_);
    open(message::key_value_offer, exchange);
    EXPECT_TRUE(exchange.items().empty());
    agree({4, 0});

    const KeyValue::Items items = {{"FullyQualifiedDomainName", "gästchen"},
        {"NetworkAddressIPv4", "10.0.0.2"}, {"OSName", ""}};
    for (std::uint32_t index = 0; index < items.size(); ++index) {
        auto question = receive();
        ASSERT_TRUE(question);
        auto asked = question->as<message::KeyValueEnumerate>();
        EXPECT_EQ(asked.operation, 3);
        EXPECT_EQ(asked.pool, 2);
        EXPECT_EQ(asked.index, index);
        const auto key = disk::utf16_from_utf8(items[index].first);
        const auto value = disk::utf16_from_utf8(items[index].second);
        std::ranges::copy(key, std::as_writable_bytes(std::span(asked.data.key)).begin());
        std::ranges::copy(value, std::as_writable_bytes(std::span(asked.data.value)).begin());
        asked.data.key_size = static_cast<std::uint32_t>(key.size() + 2);
        asked.data.value_size = static_cast<std::uint32_t>(value.size() + 2);
        question->set(asked);
        EXPECT_TRUE(exchange.items().empty()) << "not all of it has come";
        answer(*question);
        answer(*question); // once more, to a question that nobody asks
    }
    const Message last = *receive();
    answer(last, 0x80070103); // HV_S_CONT: no more
    EXPECT_EQ(exchange.items(), items);
    answer(last);
    EXPECT_FALSE(receive());

    time_.advance(KeyValue::interval);
    EXPECT_EQ(receive()->as<message::KeyValueEnumerate>().index, 0U);
    EXPECT_EQ(exchange.items(), items) << "until there is something newer";
    time_.advance(KeyValue::interval);
    EXPECT_EQ(receive()->as<message::KeyValueEnumerate>().index, 0U) << "the guest never answered";
    ASSERT_TRUE(guest_.close(*channel_));
    EXPECT_TRUE(exchange.items().empty());
    EXPECT_FALSE(time_.is_any_armed());
}

TEST_F(IntegrationTest, DoesNotListenForEver) {
    KeyValue exchange(reactor_, time_, time_);
    open(message::key_value_offer, exchange);
    agree({4, 0});
    for (std::uint32_t count = 0; count <= KeyValue::most_items; ++count) {
        EXPECT_TRUE(exchange.items().empty());
        answer(*receive());
    }
    EXPECT_EQ(exchange.items().size(), std::size_t{KeyValue::most_items});
}

TEST_F(IntegrationTest, AgreesAnewAfterTheChannelWasOpenedAgain) {
    Shutdown shutdown(reactor_);
    open(message::shutdown_offer, shutdown);
    agree({3, 2});
    ASSERT_TRUE(guest_.close(*channel_));
    EXPECT_FALSE(shutdown.is_ready());
    channel_.emplace(*guest_.open(offer_));
    agree({1, 0});
    EXPECT_TRUE(shutdown.is_ready());
    EXPECT_EQ(shutdown.request({}, [](std::uint32_t) {}), Shutdown::Asked::yes);
    EXPECT_EQ(receive()->header.message, (message::Version{1, 0}));
}

/// An answer to the versions in words of 16 bits.
Message with_words(Message reply, const std::vector<std::uint16_t>& words) {
    reply.data.resize(words.size() * 2);
    std::ranges::copy(
        std::as_bytes(std::span(words)), std::as_writable_bytes(std::span(reply.data)).begin());
    reply.header.size = 16; // as Linux has it, whatever the packet's size
    reply.pipe.size = static_cast<std::uint32_t>(sizeof(reply.header) + reply.data.size());
    return reply;
}

/// As vmbus_prep_negotiate_resp, which leaves the host's counts where the versions are.
TEST_F(IntegrationTest, ADriverMayRefuseAllVersions) {
    Shutdown shutdown(reactor_);
    open(message::shutdown_offer, shutdown);
    const Message offered = *receive();
    answer(with_words(offered, {0, 0, 0, 0, 2, 0, 4, 0, 3, 0, 1, 0}));
    EXPECT_FALSE(shutdown.is_ready());
    EXPECT_TRUE(vm_.reports().empty());
    EXPECT_FALSE(receive());
}

/// They are the answers of a guest that was saved, or slow, while both sides began anew.
TEST_F(IntegrationTest, PassesOverAnswersThatComeTooLate) {
    Heartbeat heartbeat(reactor_, time_, time_);
    open(message::heartbeat_offer, heartbeat);
    Message early = *receive();
    early.header.type = 1;
    answer(early);
    Message other = with_words(early, {1, 1, 0, 0, 3, 0, 3, 0});
    other.header.type = 0;
    other.header.transaction = 77;
    answer(other);
    EXPECT_FALSE(heartbeat.is_ready());
    other.header.transaction = early.header.transaction;
    answer(other);
    EXPECT_TRUE(heartbeat.is_ready());
    answer(other);
    EXPECT_TRUE(heartbeat.is_ready());
    EXPECT_TRUE(vm_.reports().empty());
}

/// What was offered, and how a driver that doesn't keep to the protocol answers it.
struct BadMessage {
    const char* name;
    void (*spoil)(Message&);
    std::string_view reason;
    std::uint16_t type = 6;
};

class BadMessageTest : public IntegrationTest, public ::testing::WithParamInterface<BadMessage> {};

TEST_P(BadMessageTest, EndsTheChannel) {
    Shutdown shutdown(reactor_);
    open(message::shutdown_offer, shutdown);
    Message reply = with_words(*receive(), {1, 1, 0, 0, 3, 0, 3, 2});
    reply.header.flags = message::flag_transaction | message::flag_response;
    GetParam().spoil(reply);
    send(reply, GetParam().type);
    expect_failed(GetParam().reason, shutdown);
    send(reply, GetParam().type);
    EXPECT_EQ(vm_.reports().size(), 1U) << "it is over";
    ASSERT_TRUE(guest_.close(*channel_));
    channel_.emplace(*guest_.open(offer_));
    agree({3, 2});
    EXPECT_TRUE(shutdown.is_ready());
}

template <std::uint16_t... word>
void words(Message& reply) {
    reply = with_words(reply, {word...});
}

INSTANTIATE_TEST_SUITE_P(Integration, BadMessageTest,
    ::testing::Values(BadMessage{"Packet", [](Message&) {}, "found a packet of type 11", 11},
        BadMessage{"PipeType", [](Message& reply) { reply.pipe.type = 2; },
            "found the pipe's packet type 2, expected 1"},
        BadMessage{"PipeSize", [](Message& reply) { reply.pipe.size = 41; },
            "found a message of 48 bytes that claims 41"},
        BadMessage{"Size", [](Message& reply) { reply.header.size = 21; },
            "claims 36 behind its first header and 21 behind both"},
        BadMessage{"Request", [](Message& reply) { reply.header.flags = 3; },
            "found a message with the flags 0x3, expected a response"},
        BadMessage{"Type", [](Message& reply) { reply.header.type = 1; },
            "found a message of type 1, expected 3"},
        BadMessage{"Short",
            [](Message& reply) {
                reply.header.size = 0;
                words<>(reply);
                reply.header.size = 0;
            },
            "found an answer of 4 bytes to the versions, expected 16 at least"},
        BadMessage{"Version", words<1, 1, 0, 0, 3, 0, 3, 3>, "found the versions 3.0 and 3.3"},
        BadMessage{"Framework", words<1, 1, 0, 0, 9, 9, 3, 2>, "found the versions 9.9 and 3.2"},
        BadMessage{"Two", words<2, 1, 0, 0, 3, 0, 3, 2>, "found 2 and 1 versions"},
        BadMessage{
            "Many", words<0xffff, 0xffff, 0, 0, 3, 0, 3, 2>, "found 65535 and 65535 versions"}),
    [](const auto& chosen) { return std::string(chosen.param.name); });

TEST_F(IntegrationTest, AMessageWithoutHeadersEndsTheChannel) {
    Shutdown shutdown(reactor_);
    open(message::shutdown_offer, shutdown);
    GuestPacket packet;
    packet.type = 6;
    packet.payload = {1, 2, 3};
    ASSERT_TRUE(guest_.send(*channel_, packet));
    while (reactor_.run_once(0)) {
    }
    expect_failed("found a message of 24 bytes, expected 28 at least", shutdown);
}

/// With so many bytes behind the headers, and headers that say so.
Message cut(Message reply, std::uint16_t size) {
    reply.data.resize(size);
    reply.pipe.size = static_cast<std::uint32_t>(sizeof(reply.header) + size);
    reply.header.size = size;
    return reply;
}

TEST_F(IntegrationTest, AHeartbeatWithoutItsSequenceEndsTheChannel) {
    Heartbeat heartbeat(reactor_, time_, time_);
    open(message::heartbeat_offer, heartbeat);
    agree({3, 0});
    answer(cut(*receive(), 4));
    expect_failed("found a heartbeat of 4 bytes, expected 8 at least", heartbeat);
    EXPECT_EQ(heartbeat.state(), Heartbeat::State::no_contact);
    EXPECT_FALSE(time_.is_any_armed());
}

TEST_F(IntegrationTest, AnItemThatIsNoneEndsTheChannel) {
    KeyValue exchange(reactor_, time_, time_);
    open(message::key_value_offer, exchange);
    agree({4, 0});
    answer(cut(*receive(), 100));
    expect_failed("found an item of 100 bytes, expected 2580", exchange);
    EXPECT_FALSE(time_.is_any_armed());
}

TEST_F(IntegrationTest, AnItemThatIsTooLargeEndsTheChannel) {
    KeyValue exchange(reactor_, time_, time_);
    open(message::key_value_offer, exchange);
    agree({4, 0});
    Message reply = *receive();
    auto item = reply.as<message::KeyValueEnumerate>();
    item.data.key_size = 512;
    item.data.value_size = 2049;
    reply.set(item);
    answer(reply);
    expect_failed("found a name of 512 and a value of 2049 bytes", exchange);
}

TEST_F(IntegrationTest, RefusesRingsThatCantBe) {
    Heartbeat heartbeat(reactor_, time_, time_);
    connect(message::heartbeat_offer, heartbeat);
    EXPECT_EQ(guest_.open_spoilt(
                  offer_, [](ModelGuest::Channel& channel) { channel.sender.ring().store(4, 9); }),
        vmbus::protocol::status_unsuccessful);
    EXPECT_EQ(vm_.reports(),
        std::vector<std::string>{"refused to open channel 1: the read index is out of range"});
    auto channel = guest_.open(offer_);
    ASSERT_TRUE(channel);
    channel_.emplace(*std::move(channel));
    agree({3, 0});
    EXPECT_TRUE(heartbeat.is_ready());
}

TEST_F(IntegrationTest, EndsAChannelWithBrokenRings) {
    Heartbeat heartbeat(reactor_, time_, time_);
    open(message::heartbeat_offer, heartbeat);
    agree({3, 0});
    answer(*receive());
    channel_->sender.ring().store(0, 0xfffffff0);
    vm_.signal(channel_->connection);
    while (reactor_.run_once(0)) {
    }
    ASSERT_EQ(vm_.reports().size(), 1U);
    EXPECT_NE(vm_.reports()[0].find("write index"), std::string::npos);
    EXPECT_FALSE(heartbeat.is_ready());
    EXPECT_FALSE(time_.is_any_armed());
    time_.advance(10 * Heartbeat::interval);
    EXPECT_TRUE(guest_.close(*channel_));
}

} // namespace
} // namespace croft::vsp::integration
