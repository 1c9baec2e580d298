// SPDX-License-Identifier: Apache-2.0
//
// A model guest on the channel of an adapter whose process has ended.
#include "vsp/network/send_completer.hpp"

#include "vmbus/remote/poll_reactor.hpp"
#include "vsp/network/adapter.hpp"
#include "vsp/network/testing/network_guest.hpp"

#include <gtest/gtest.h>
#include <map>
#include <utility>

namespace croft::vsp::network {
namespace {

using testing::nvsp_message;
using vmbus::testing::GuestPacket;

/// Has channels opened, and leaves them to somebody else.
class EndedAdapter final : public vmbus::ChannelService {
public:
    explicit EndedAdapter(SendCompleter& completer) : completer_(completer) {}

    void attached(vmbus::ChannelControl& control) override { control_ = &control; }
    void detached() override { control_ = nullptr; }
    void open(std::uint16_t sub_channel, vmbus::OpenChannel channel) override {
        open_.insert_or_assign(sub_channel, std::move(channel));
        control_->opened(sub_channel);
    }
    void close(std::uint16_t sub_channel) override {
        completer_.close(sub_channel);
        control_->closed(sub_channel);
    }
    void create_gpadl(std::uint16_t sub_channel, vmbus::Gpadl gpadl) override {
        control_->gpadl_created(sub_channel, gpadl.id, true);
    }
    void teardown_gpadl(std::uint16_t sub_channel, std::uint32_t id) override {
        control_->gpadl_torn_down(sub_channel, id);
    }
    void stop() override { control_->stopped(); }
    void start() override {}

    void leave() {
        for (auto& [sub_channel, channel] : std::exchange(open_, {})) {
            completer_.take_over(sub_channel, std::move(channel), *control_);
        }
    }

private:
    SendCompleter& completer_;
    vmbus::ChannelControl* control_ = nullptr;
    std::map<std::uint16_t, vmbus::OpenChannel> open_;
};

class SendCompleterTest : public ::testing::Test {
protected:
    static constexpr std::uint32_t failure = 2;

    SendCompleterTest() {
        vm_.server().start();
        device_ = vm_.server().add(Adapter::offer(vmbus::Guid::of(1, 2, 3, {4})), adapter_);
        EXPECT_TRUE(guest_.connect());
        channel_.emplace(guest_.open(guest_.request_offers().at(0), 3).value());
    }
    ~SendCompleterTest() override { vm_.server().remove(device_); }

    /// As netvsc has frames sent.
    static GuestPacket packet_of(std::uint64_t transaction, protocol::MessageType type) {
        GuestPacket packet;
        packet.flags = 1;
        packet.transaction_id = transaction;
        const testing::Bytes message = nvsp_message(type, {});
        packet.payload.resize(message.size() / 8);
        std::memcpy(packet.payload.data(), message.data(), message.size());
        return packet;
    }
    void work() {
        while (reactor_.run_once(0)) {
        }
    }
    /// What has come, by transaction: the answer's type and the 32-bit words behind it.
    void take_completions() {
        while (const auto packet = channel_->receiver.receive()) {
            EXPECT_EQ(packet->type, 11);
            std::vector<std::uint32_t> words(packet->payload.size() * 2);
            std::memcpy(words.data(), packet->payload.data(), words.size() * 4);
            EXPECT_TRUE(completions_.emplace(packet->transaction_id, words).second) << "twice";
        }
        if (channel_->receiver.commit()) {
            vm_.signal(channel_->connection);
        }
    }

    vmbus::testing::TestVm vm_;
    vmbus::PollReactor reactor_;
    SendCompleter completer_{reactor_};
    EndedAdapter adapter_{completer_};
    vmbus::testing::ModelGuest guest_{vm_, [this] {
                                          return reactor_.run_once(5000);
                                      }};
    vmbus::Server::DeviceId device_{};
    std::optional<vmbus::testing::ModelGuest::Channel> channel_;
    std::map<std::uint64_t, std::vector<std::uint32_t>> completions_;
};

TEST_F(SendCompleterTest, CompletesWhatIsLeftAndWhatComes) {
    using protocol::MessageType;
    std::uint64_t sent = 0;
    while (guest_.send(*channel_, packet_of(sent + 1, MessageType::send_rndis_packet))) {
        ++sent;
    }
    ASSERT_GT(sent, 100U);
    adapter_.leave();
    work();
    EXPECT_FALSE(channel_->receiver.receive()) << "it hasn't begun";
    completer_.start();
    work();
    // More comes than its ring takes: the guest makes room now and then.
    for (; sent < 2000; ++sent) {
        while (!guest_.send(*channel_, packet_of(sent + 1, MessageType::send_rndis_packet))) {
            take_completions();
            work();
        }
    }
    for (std::size_t before = 1; before != completions_.size();) {
        before = completions_.size();
        work();
        take_completions();
    }
    ASSERT_EQ(completions_.size(), sent);
    for (const auto& [transaction, words] : completions_) {
        EXPECT_EQ(words.at(0), 108U);
        EXPECT_EQ(words.at(1), failure);
    }
    EXPECT_EQ(channel_->sender.ring().load(0), channel_->sender.ring().load(4)) << "all is taken";
    EXPECT_TRUE(vm_.reports().empty());
}

TEST_F(SendCompleterTest, RefusesRequestsAsTheirSenderKnowsIt) {
    using protocol::MessageType;
    adapter_.leave();
    completer_.start();
    const std::map<MessageType, std::pair<std::uint32_t, std::size_t>> expected = {
        {MessageType::init, {2, 3}}, {MessageType::send_receive_buffer, {102, 1}},
        {MessageType::send_send_buffer, {105, 1}}, {MessageType::sub_channel, {133, 1}}};
    for (const auto& [type, answer] : expected) {
        const auto transaction = static_cast<std::uint64_t>(type);
        ASSERT_TRUE(guest_.send(*channel_, packet_of(transaction, type)));
        work();
        take_completions();
        ASSERT_TRUE(completions_.contains(transaction));
        EXPECT_EQ(completions_[transaction].at(0), answer.first);
        EXPECT_EQ(completions_[transaction].at(answer.second), failure);
        EXPECT_EQ(completions_[transaction].size(), 10U) << "Linux wants it whole";
    }
    // What wants no answer, or is none of its business, gets none.
    GuestPacket packet;
    packet.type = 11;
    ASSERT_TRUE(guest_.send(*channel_, packet));
    packet.type = 6;
    packet.flags = 1;
    packet.transaction_id = 99;
    ASSERT_TRUE(guest_.send(*channel_, packet));
    work();
    take_completions();
    EXPECT_EQ(completions_.size(), expected.size() + 1) << "an empty one has an answer, too";
}

TEST_F(SendCompleterTest, StandsStillWhileItIsStopped) {
    adapter_.leave();
    completer_.start();
    work();
    completer_.stop();
    ASSERT_TRUE(guest_.send(*channel_, packet_of(1, protocol::MessageType::send_rndis_packet)));
    work();
    EXPECT_EQ(channel_->sender.ring().load(4), 0U);
    completer_.start();
    work();
    take_completions();
    EXPECT_EQ(completions_.size(), 1U);
    ASSERT_TRUE(guest_.close(*channel_));
}

TEST_F(SendCompleterTest, TellsWhenTheGuestIsSilent) {
    bool is_silent = false;
    completer_.wait_for_silence([&] { is_silent = true; });
    EXPECT_TRUE(is_silent) << "there is no channel";
    is_silent = false;
    adapter_.leave();
    completer_.start();
    ASSERT_TRUE(guest_.send(*channel_, packet_of(1, protocol::MessageType::send_rndis_packet)));
    completer_.wait_for_silence([&] { is_silent = true; });
    EXPECT_FALSE(is_silent);
    work();
    // Not before it has taken the completion.
    ASSERT_TRUE(reactor_.run_once(5000));
    ASSERT_TRUE(reactor_.run_once(5000));
    EXPECT_FALSE(is_silent);
    take_completions();
    while (!is_silent) {
        ASSERT_TRUE(reactor_.run_once(5000));
    }
    EXPECT_EQ(completions_.size(), 1U);
}

TEST_F(SendCompleterTest, ABadRingEndsTheChannelOnly) {
    adapter_.leave();
    completer_.start();
    channel_->sender.ring().store(0, 3);
    vm_.signal(channel_->connection);
    work();
    ASSERT_EQ(vm_.reports().size(), 1U);
    EXPECT_EQ(vm_.reports()[0], "channel 1 has ended: the write index is out of range");
    ASSERT_TRUE(guest_.close(*channel_));
}

TEST_F(SendCompleterTest, LeavesRingsThatAreBroken) {
    channel_->sender.ring().store(4, 0xfffffff8);
    adapter_.leave();
    completer_.start();
    ASSERT_EQ(vm_.reports().size(), 1U);
    EXPECT_EQ(vm_.reports()[0], "channel 1 has ended: the read index is out of range");
    ASSERT_TRUE(guest_.close(*channel_));
}

} // namespace
} // namespace croft::vsp::network
