// SPDX-License-Identifier: Apache-2.0
//
// The bus against a process of a service that means no good.
#include "vmbus/remote/message.hpp"
#include "vmbus/remote/poll_reactor.hpp"
#include "vmbus/remote/remote_bus.hpp"
#include "vmbus/remote/remote_service.hpp"
#include "vmbus/server/server.hpp"
#include "vmbus/testing/echo_ends.hpp"
#include "vmbus/testing/echo_service.hpp"
#include "vmbus/testing/model_guest.hpp"
#include "vmbus/testing/test_vm.hpp"

#include <chrono>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <sys/socket.h>
#include <utility>

namespace croft::vmbus::remote {
namespace {

using protocol::MessageType;
using testing::echo_offer;
using testing::EchoService;
using testing::GuestPacket;
using testing::ModelGuest;
using testing::socket_pair;
using testing::TestVm;

/// A process that says what it likes to the bus.
class HostileServiceTest : public ::testing::Test {
protected:
    explicit HostileServiceTest(std::chrono::milliseconds patience = RemoteService::patience) {
        vm_.server().start();
        auto [ours, theirs] = socket_pair();
        socket_ = std::move(theirs);
        remote_ =
            std::make_unique<RemoteService>(reactor_, std::move(ours), vm_.test_memory().file(),
                RemoteService::Events{[this](const Offer& offer) {
                                          return testing::add(vm_.server(), offer, *remote_, id_);
                                      },
                    [this] { EXPECT_FALSE(std::exchange(process_ended_, true)); },
                    [this](const std::string& reason) {
                        EXPECT_TRUE(process_ended_);
                        ended_ = true;
                        reason_ = reason;
                        vm_.server().remove(id_);
                    }},
                patience);
    }

    void say(const Message& message) { say_bytes(encode(message)); }
    void say_bytes(const std::vector<std::uint8_t>& bytes) {
        (void)::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        while (reactor_.run_once(0)) {
        }
    }

    TestVm vm_;
    PollReactor reactor_;
    Descriptor socket_;
    std::unique_ptr<RemoteService> remote_;
    Server::DeviceId id_ = 0;
    bool process_ended_ = false;
    bool ended_ = false;
    std::string reason_;
    ModelGuest guest_{vm_, [this] {
                          return reactor_.run_once(0);
                      }};
};

TEST_F(HostileServiceTest, AnswersThatNobodyWaitsFor) {
    say(Hello{protocol_version, echo_offer()});
    ASSERT_NE(id_, 0U);
    EXPECT_FALSE(ended_);
    say(OfferSubChannels{5}); // without an open channel that means nothing
    EXPECT_FALSE(ended_);
    say(Opened{0});
    EXPECT_TRUE(ended_);
    EXPECT_EQ(reason_, "found an answer to an open that nobody has asked for");
    EXPECT_FALSE(remote_->is_attached());
}

TEST_F(HostileServiceTest, RefusesWhatNobodyHasAsked) {
    say(Hello{protocol_version, echo_offer()});
    say(RequestRefused{0, "without an open channel that means nothing"});
    EXPECT_FALSE(ended_);
    say(OpenRefused{0, "no"});
    EXPECT_EQ(reason_, "found a refusal of an open that nobody has asked for");
    EXPECT_TRUE(vm_.reports().empty());
}

/// A reason of a hostile process is printable, and no longer than it may be.
TEST_F(HostileServiceTest, RefusesWithMoreThanAReason) {
    say(Hello{protocol_version, echo_offer()});
    ASSERT_TRUE(guest_.connect());
    ASSERT_EQ(guest_.request_offers().size(), 1U);
    const auto pages = vm_.test_memory().allocate(8);
    EXPECT_FALSE(guest_.create_gpadl(1, 1, pages));
    say(GpadlCreated{0, 1, true});
    EXPECT_FALSE(guest_.open_with(1, 1, 4));
    say(OpenRefused{0, "no\nvmbus: " + std::string(1000, 'x')});
    ASSERT_EQ(vm_.reports().size(), 1U);
    EXPECT_EQ(vm_.reports()[0],
        "refused to open channel 1: no?vmbus: " + std::string(longest_reason - 10, 'x'));
    ASSERT_TRUE(guest_.wait<protocol::OpenChannelResult>(MessageType::open_channel_result));
    EXPECT_FALSE(guest_.open_with(1, 1, 4));
    say(Opened{0});
    ASSERT_TRUE(guest_.wait<protocol::OpenChannelResult>(MessageType::open_channel_result));
    say(RequestRefused{0, "that \033[31mcan't be"});
    ASSERT_EQ(vm_.reports().size(), 2U);
    EXPECT_EQ(vm_.reports()[1], "refused a request on channel 1: that ?[31mcan't be");
    std::vector<std::uint8_t> bytes = encode(RequestRefused{0, "no"});
    bytes.back() = '\n';
    say_bytes(bytes);
    EXPECT_TRUE(ended_);
}

TEST_F(HostileServiceTest, OffersWhatAnotherHas) {
    EchoService other(reactor_);
    (void)vm_.server().add(echo_offer(), other);
    say(Hello{protocol_version, echo_offer()});
    EXPECT_TRUE(ended_);
    EXPECT_EQ(id_, 0U);
    EXPECT_NE(reason_.find("second device of the same instance"), std::string::npos) << reason_;
}

TEST_F(HostileServiceTest, OtherVersions) {
    say(Hello{protocol_version + 1, echo_offer()});
    EXPECT_TRUE(ended_);
    EXPECT_EQ(id_, 0U);
}

TEST_F(HostileServiceTest, NoGreeting) {
    say(Stopped{});
    EXPECT_EQ(reason_, "found a message before the greeting");
}

TEST_F(HostileServiceTest, MessagesOfTheBus) {
    say(Hello{protocol_version, echo_offer()});
    say(Close{});
    EXPECT_EQ(reason_, "found a message that only the bus sends");
}

TEST_F(HostileServiceTest, GoesWhileAnswersAreDue) {
    say(Hello{protocol_version, echo_offer()});
    ASSERT_TRUE(guest_.connect());
    ASSERT_EQ(guest_.request_offers().size(), 1U);
    EXPECT_FALSE(guest_.create_gpadl(1, 1, vm_.test_memory().allocate(4)));
    EXPECT_FALSE(guest_.unload());
    socket_ = Descriptor();
    while (reactor_.run_once(0)) {
    }
    EXPECT_TRUE(ended_);
    EXPECT_TRUE(guest_.wait<protocol::MessageHeader>(MessageType::unload_response));
    EXPECT_FALSE(remote_->is_attached());
}

TEST_F(HostileServiceTest, ReadsNothing) {
    say(Hello{protocol_version, echo_offer()});
    ASSERT_TRUE(guest_.connect());
    ASSERT_EQ(guest_.request_offers().size(), 1U);
    const auto pages = vm_.test_memory().allocate(900);
    for (std::uint32_t id = 0; id < 60; ++id) {
        EXPECT_FALSE(guest_.create_gpadl(1, id, pages));
    }
    EXPECT_FALSE(ended_) << "all of it is kept";
    EXPECT_FALSE(guest_.unload());
}

TEST_F(HostileServiceTest, CannotBegin) {
    refuse_service(socket_.get(), "found no \033[31mnetwork");
    while (reactor_.run_once(0)) {
    }
    EXPECT_TRUE(ended_);
    EXPECT_EQ(reason_, "found no ?[31mnetwork");
}

/// One that isn't given long.
class SlowServiceTest : public HostileServiceTest {
protected:
    SlowServiceTest() : HostileServiceTest(std::chrono::milliseconds(300)) {}
};

TEST_F(SlowServiceTest, IsSentAwayIfItNeverAnswers) {
    say(Hello{protocol_version, echo_offer()});
    bool stopped = false;
    vm_.server().stop([&] { stopped = true; });
    EXPECT_FALSE(stopped);
    ASSERT_TRUE(reactor_.run_once(20000)) << "the time is over";
    EXPECT_TRUE(stopped) << "nobody waits any longer";
    EXPECT_EQ(reason_, "it gave no answer for 300 ms");
    EXPECT_FALSE(remote_->is_attached());
}

TEST_F(SlowServiceTest, DoesNotWinTimeByHalfAnswers) {
    say(Hello{protocol_version, echo_offer()});
    std::optional<std::optional<Bytes>> answer;
    remote_->ask(Bytes{1}, [&](std::optional<Bytes> content) { answer = std::move(content); });
    do {
        say(Answer{false, {1}});
    } while (!ended_ && reactor_.run_once(20000));
    ASSERT_TRUE(answer);
    EXPECT_FALSE(*answer);
}

TEST_F(HostileServiceTest, AnswersThatNeverEnd) {
    say(Hello{protocol_version, echo_offer()});
    say(Answer{true, {}});
    EXPECT_EQ(reason_, "found an answer to a question that nobody has asked");
}

TEST_F(HostileServiceTest, AnswersThatAreTooLong) {
    say(Hello{protocol_version, echo_offer()});
    unsigned refused = 0;
    remote_->ask({}, [&](const auto& content) { refused += content ? 0U : 1U; });
    remote_->ask({}, [&](const auto& content) { refused += content ? 0U : 1U; });
    for (std::size_t sent = 0; sent <= longest_content && !ended_; sent += longest_part) {
        say(Answer{false, Bytes(longest_part)});
    }
    EXPECT_EQ(reason_, "found a question or an answer of more than 8 MiB");
    EXPECT_EQ(refused, 2U);
    remote_->ask({}, [&](const auto& content) { refused += content ? 0U : 1U; });
    EXPECT_EQ(refused, 3U) << "nobody is there to ask";
}

TEST_F(HostileServiceTest, Garbage) {
    std::mt19937_64 random(3);
    for (unsigned i = 0; i < 5000; ++i) {
        std::vector<std::uint8_t> bytes(random() % 300);
        for (std::uint8_t& byte : bytes) {
            const std::uint64_t mask = random();
            byte = static_cast<std::uint8_t>(random() & mask);
        }
        if (bytes.size() > 4) {
            bytes[0] = static_cast<std::uint8_t>(random() % 20);
            bytes[1] = bytes[2] = bytes[3] = 0;
        }
        (void)decode(bytes, {});
    }
    say_bytes(std::vector<std::uint8_t>(largest_message + 1));
    EXPECT_TRUE(ended_);
}

} // namespace
} // namespace croft::vmbus::remote
