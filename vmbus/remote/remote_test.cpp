// SPDX-License-Identifier: Apache-2.0
//
// The same echo service in this process and in one of its own, under the same tests.
#include "vmbus/remote/event.hpp"
#include "vmbus/remote/poll_reactor.hpp"
#include "vmbus/remote/remote_bus.hpp"
#include "vmbus/remote/remote_service.hpp"
#include "vmbus/server/server.hpp"
#include "vmbus/testing/echo_ends.hpp"
#include "vmbus/testing/echo_service.hpp"
#include "vmbus/testing/model_guest.hpp"
#include "vmbus/testing/test_vm.hpp"

#include <csignal>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <numeric>
#include <sys/wait.h>

namespace croft::vmbus::remote {
namespace {

using protocol::MessageType;
using testing::echo_offer;
using testing::EchoService;
using testing::GuestPacket;
using testing::ModelGuest;
using testing::socket_pair;
using testing::TestVm;

/// Ends with 0 when the bus has ended and the service has let go of everything.
[[noreturn]] void run_service_process(Descriptor socket) {
    PollReactor reactor;
    EchoService service(reactor);
    bool ended = false;
    RemoteBus bus(
        reactor, std::move(socket), echo_offer(), service,
        [&](const std::string&) { ended = true; },
        [&](std::span<const std::uint8_t> question, const std::function<void(Bytes)>& answered) {
            Bytes answer(question.rbegin(), question.rend());
            answer.push_back(bus.is_idle() ? 1 : 0);
            answer.push_back(bus.has_channels() ? 1 : 0);
            answered(std::move(answer));
        });
    while (!ended) {
        if (!reactor.run_once(20000)) {
            _exit(2);
        }
    }
    _exit(
        service.open_channels() == 0 && service.gpadls().empty() && !service.is_attached() ? 0 : 1);
}

/// Notes what it is told.
class NotingSuccessor final : public Successor {
public:
    void take_over(
        std::uint16_t sub_channel, OpenChannel channel, ChannelControl& /*control*/) override {
        EXPECT_FALSE(running);
        channels.emplace(sub_channel, std::move(channel));
    }
    void close(std::uint16_t sub_channel) override { channels.erase(sub_channel); }
    void stop() override { running = false; }
    void start() override { running = true; }

    bool running = false;
    std::map<std::uint16_t, OpenChannel> channels;
};

/// Where the service is.
enum class Place { here, elsewhere };

class ServiceTest : public ::testing::TestWithParam<Place> {
protected:
    ServiceTest() {
        vm_.server().start();
        if (GetParam() == Place::here) {
            id_ = vm_.server().add(echo_offer(), here_);
        } else {
            start_process();
        }
    }
    ~ServiceTest() override {
        vm_.server().remove(id_);
        run_until([&] { return !remote_ || !remote_->is_attached(); });
        remote_.reset();
        if (process_ > 0) {
            int status = 0;
            EXPECT_EQ(waitpid(process_, &status, 0), process_);
            EXPECT_TRUE(killed_ || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << status;
        }
    }

    void start_process() {
        auto [ours, theirs] = socket_pair();
        process_ = fork();
        if (process_ == 0) {
            ours = Descriptor();
            run_service_process(std::move(theirs));
        }
        remote_ =
            std::make_unique<RemoteService>(reactor_, std::move(ours), vm_.test_memory().file(),
                RemoteService::Events{[this](const Offer& offer) {
                                          return testing::add(vm_.server(), offer, *remote_, id_);
                                      },
                    nullptr,
                    [this](const std::string& reason) {
                        end_reason_ = reason;
                        if (successor_) {
                            vm_.server().withdraw(id_);
                        } else {
                            vm_.server().remove(id_);
                        }
                    },
                    successor_ ? &*successor_ : nullptr});
        run_until([&] { return id_ != 0; });
    }

    void run_until(const std::function<bool()>& reached) {
        while (!reached()) {
            ASSERT_TRUE(reactor_.run_once(20000));
        }
    }

    ModelGuest::Channel open_one() {
        EXPECT_TRUE(guest_.connect());
        const auto offers = guest_.request_offers();
        EXPECT_EQ(offers.size(), 1U);
        auto channel = guest_.open(offers.at(0));
        EXPECT_TRUE(channel);
        return std::move(channel).value();
    }

    void expect_echo(ModelGuest::Channel& channel, std::uint64_t value) {
        GuestPacket packet;
        packet.transaction_id = value;
        packet.payload = {value, ~value};
        ASSERT_TRUE(guest_.send(channel, packet));
        const auto reply = guest_.receive(channel);
        ASSERT_TRUE(reply);
        EXPECT_EQ(reply->payload, packet.payload);
    }

    TestVm vm_;
    PollReactor reactor_;
    EchoService here_{reactor_};
    std::unique_ptr<RemoteService> remote_;
    pid_t process_ = 0;
    bool killed_ = false;
    std::string end_reason_;
    Server::DeviceId id_ = 0;
    std::optional<NotingSuccessor> successor_;
    ModelGuest guest_{vm_, [this] {
                          return reactor_.run_once(GetParam() == Place::here ? 0 : 5000);
                      }};
};

TEST_P(ServiceTest, CarriesData) {
    auto channel = open_one();
    for (std::uint64_t i = 0; i < 300; ++i) {
        expect_echo(channel, i);
    }
    ASSERT_TRUE(guest_.close(channel));
    EXPECT_TRUE(vm_.reports().empty());
}

TEST_P(ServiceTest, ReachesGuestMemory) {
    auto channel = open_one();
    const auto pages = vm_.test_memory().allocate(1);
    GuestPacket packet;
    packet.type = 9;
    packet.header = {std::uint64_t{1} << 32, 10 | std::uint64_t{5} << 32, pages[0]};
    ASSERT_TRUE(guest_.send(channel, packet));
    ASSERT_TRUE(guest_.receive(channel));
    EXPECT_EQ(vm_.memory().page(pages[0])[5], 0x5a);
}

TEST_P(ServiceTest, LargeGpadls) {
    (void)open_one();
    const auto pages = vm_.test_memory().allocate(900);
    EXPECT_EQ(guest_.create_gpadl(1, 9, pages), 0U);
    EXPECT_TRUE(guest_.teardown_gpadl(1, 9));
}

TEST_P(ServiceTest, SubChannels) {
    auto channel = open_one();
    GuestPacket ask;
    ask.payload = {EchoService::offer_sub_channels, 2};
    ASSERT_TRUE(guest_.send(channel, ask));
    for (std::uint32_t index = 1; index <= 2; ++index) {
        const auto offer = guest_.wait_for_offer();
        ASSERT_TRUE(offer);
        EXPECT_EQ(offer->sub_channel_index, index);
        auto sub = guest_.open(*offer, 2, index);
        ASSERT_TRUE(sub);
        expect_echo(*sub, index);
    }
}

TEST_P(ServiceTest, UnloadAndAnotherKernel) {
    auto channel = open_one();
    expect_echo(channel, 1);
    ASSERT_TRUE(guest_.unload());
    channel = open_one();
    expect_echo(channel, 2);
    channel = open_one(); // without an unload
    expect_echo(channel, 3);
}

TEST_P(ServiceTest, StopsAndGoesOn) {
    auto channel = open_one();
    expect_echo(channel, 1);
    bool stopped = false;
    vm_.server().stop([&] { stopped = true; });
    run_until([&] { return stopped; });
    GuestPacket packet;
    packet.transaction_id = 5;
    ASSERT_TRUE(guest_.send(channel, packet));
    for (unsigned i = 0; i < 20; ++i) {
        (void)reactor_.run_once(1);
    }
    EXPECT_EQ(channel.sender.ring().load(4), 40U) << "nobody has read it";
    (void)vm_.server().save();
    vm_.server().start();
    const auto reply = guest_.receive(channel);
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->transaction_id, 5U);
}

TEST_P(ServiceTest, ABadRingEndsTheChannelOnly) {
    auto channel = open_one();
    channel.sender.ring().store(0, 3);
    vm_.signal(channel.connection);
    run_until([&] { return !vm_.reports().empty(); });
    EXPECT_EQ(vm_.reports().at(0), "channel 1 has ended: the write index is out of range");
    ASSERT_TRUE(guest_.close(channel));
    channel = open_one();
    expect_echo(channel, 1);
}

TEST_P(ServiceTest, ABadRingIsRefusedWithTheReason) {
    EXPECT_TRUE(guest_.connect());
    const auto offers = guest_.request_offers();
    ASSERT_EQ(offers.size(), 1U);
    EXPECT_EQ(guest_.open_spoilt(offers[0],
                  [](ModelGuest::Channel& channel) { channel.receiver.ring().store(4, 5); }),
        protocol::status_unsuccessful);
    EXPECT_EQ(vm_.reports(),
        std::vector<std::string>{"refused to open channel 1: the read index is out of range"});
    EXPECT_EQ(vm_.connections(), 0U);
    auto channel = guest_.open(offers[0]);
    ASSERT_TRUE(channel);
    expect_echo(*channel, 1);
}

TEST_P(ServiceTest, RetargetsInterrupts) {
    auto channel = open_one();
    expect_echo(channel, 1);
    for (const std::uint32_t vp : {3U, 1U}) {
        const std::uint32_t before = channel.vp;
        guest_.post(protocol::ModifyChannel{
            {static_cast<std::uint32_t>(MessageType::modify_channel), 0}, channel.relid, vp});
        const auto answer =
            guest_.wait<protocol::ModifyChannelResponse>(MessageType::modify_channel_response);
        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->status, 0U);
        const auto flag = static_cast<std::uint16_t>(channel.relid);
        (void)vm_.take_flag(before, flag);
        channel.vp = vp;
        // Nothing is looked for without an interrupt.
        expect_echo(channel, vp);
        EXPECT_FALSE(vm_.take_flag(before, flag)) << "it goes to processor " << vp << " alone";
    }
}

/// What only a process of its own can do.
class ServiceProcessTest : public ServiceTest {};

TEST_P(ServiceProcessTest, TakesItsDeviceAlongWhenItDies) {
    auto channel = open_one();
    expect_echo(channel, 1);
    killed_ = true;
    ASSERT_EQ(kill(process_, SIGKILL), 0);
    ASSERT_TRUE(guest_.wait<protocol::RescindChannelOffer>(MessageType::rescind_channel_offer));
    EXPECT_EQ(end_reason_, "");
    EXPECT_EQ(vm_.connections(), 0U);
    EXPECT_FALSE(remote_->is_attached());
    ASSERT_TRUE(guest_.unload());
}

TEST_P(ServiceProcessTest, LeavesWhatIsOpenToASuccessor) {
    vm_.server().remove(id_);
    run_until([&] { return !remote_->is_attached(); });
    waitpid(process_, nullptr, 0);
    successor_.emplace();
    id_ = 0;
    start_process();
    auto channel = open_one();
    expect_echo(channel, 1);
    killed_ = true;
    ASSERT_EQ(kill(process_, SIGKILL), 0);
    ASSERT_TRUE(guest_.wait<protocol::RescindChannelOffer>(MessageType::rescind_channel_offer));
    EXPECT_TRUE(successor_->running);
    ASSERT_EQ(successor_->channels.size(), 1U);
    const OpenChannel& left = successor_->channels.at(0);
    std::vector<std::uint64_t> pages = left.incoming_pages;
    pages.insert(pages.end(), left.outgoing_pages.begin(), left.outgoing_pages.end());
    EXPECT_EQ(pages, channel.pages);
    // The guest's signals come, and it hears ours.
    vm_.signal(channel.connection);
    EXPECT_TRUE(take_event(left.event.get()));
    left.interrupt->signal();
    EXPECT_TRUE(vm_.take_flag(channel.vp, static_cast<std::uint16_t>(channel.relid)));
    bool stopped = false;
    vm_.server().stop([&] { stopped = true; });
    EXPECT_TRUE(stopped);
    EXPECT_FALSE(successor_->running);
    vm_.server().start();
    EXPECT_TRUE(successor_->running);
    EXPECT_TRUE(remote_->is_attached()) << "while the guest has something open";
    ASSERT_TRUE(guest_.close(channel));
    EXPECT_TRUE(successor_->channels.empty());
    EXPECT_FALSE(remote_->is_attached());
}

TEST_P(ServiceProcessTest, IsAskedBesideTheBus) {
    // One by one, two at once, and one that takes many messages each way.
    std::vector<Bytes> answers;
    const auto ask = [&](const Bytes& question) {
        remote_->ask(question, [&](std::optional<Bytes> answer) {
            ASSERT_TRUE(answer);
            answers.push_back(*std::move(answer));
        });
    };
    ask({1, 2});
    run_until([&] { return answers.size() == 1; });
    EXPECT_EQ(answers[0], (Bytes{2, 1, 0, 0})) << "it runs";
    (void)open_one();
    bool stopped = false;
    vm_.server().stop([&] { stopped = true; });
    run_until([&] { return stopped; });
    Bytes large(3 * longest_part + 5);
    std::iota(large.begin(), large.end(), std::uint8_t{0});
    ask({});
    ask(large);
    run_until([&] { return answers.size() == 3; });
    EXPECT_EQ(answers[1], (Bytes{1, 1})) << "it is stopped, and has a channel";
    std::ranges::reverse(large);
    large.insert(large.end(), {1, 1});
    EXPECT_EQ(answers[2], large);
    vm_.server().start();
}

INSTANTIATE_TEST_SUITE_P(Places, ServiceTest, ::testing::Values(Place::here, Place::elsewhere),
    [](const auto& parameter) {
        return parameter.param == Place::here ? std::string("Here") : std::string("Elsewhere");
    });

INSTANTIATE_TEST_SUITE_P(Places, ServiceProcessTest, ::testing::Values(Place::elsewhere),
    [](const auto& /*parameter*/) { return std::string("Elsewhere"); });

} // namespace
} // namespace croft::vmbus::remote
