// SPDX-License-Identifier: Apache-2.0
//
// The same echo service in this process and in one of its own, under the same tests; and both ends
// of the socket against another side that means no good.
#include "vdev/error.hpp"
#include "vmbus/remote/event.hpp"
#include "vmbus/remote/message.hpp"
#include "vmbus/remote/poll_reactor.hpp"
#include "vmbus/remote/remote_bus.hpp"
#include "vmbus/remote/remote_service.hpp"
#include "vmbus/server/server.hpp"
#include "vmbus/testing/echo_service.hpp"
#include "vmbus/testing/model_guest.hpp"
#include "vmbus/testing/test_vm.hpp"

#include <csignal>
#include <gtest/gtest.h>
#include <numeric>
#include <random>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

namespace croft::vmbus::remote {
namespace {

using protocol::MessageType;
using testing::EchoService;
using testing::GuestPacket;
using testing::ModelGuest;
using testing::TestVm;

Offer echo_offer() {
    Offer offer;
    offer.interface_type = Guid::of(1, 2, 3, {});
    offer.instance = Guid::of(7, 0, 0, {1});
    return offer;
}

std::pair<Descriptor, Descriptor> socket_pair() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    return {Descriptor(ends[0]), Descriptor(ends[1])};
}

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

    /// As an owner does that knows no better than the server.
    std::string add(const Offer& offer) {
        try {
            id_ = vm_.server().add(offer, *remote_);
            return {};
        } catch (const vdev::DeviceError& error) {
            return error.what();
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
                RemoteService::Events{[this](const Offer& offer) { return add(offer); }, nullptr,
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

/// A process that says what it likes to the bus.
class HostileServiceTest : public ::testing::Test {
protected:
    explicit HostileServiceTest(std::chrono::milliseconds patience = RemoteService::patience) {
        vm_.server().start();
        auto [ours, theirs] = socket_pair();
        socket_ = std::move(theirs);
        remote_ =
            std::make_unique<RemoteService>(reactor_, std::move(ours), vm_.test_memory().file(),
                RemoteService::Events{[this](const Offer& offer) { return add(offer); },
                    [this] { EXPECT_FALSE(std::exchange(process_ended_, true)); },
                    [this](const std::string& reason) {
                        EXPECT_TRUE(process_ended_);
                        ended_ = true;
                        reason_ = reason;
                        vm_.server().remove(id_);
                    }},
                patience);
    }

    /// As an owner does that knows no better than the server.
    std::string add(const Offer& offer) {
        try {
            id_ = vm_.server().add(offer, *remote_);
            return {};
        } catch (const vdev::DeviceError& error) {
            return error.what();
        }
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

/// A worker that says what it likes to the service.
class HostileBusTest : public ::testing::Test {
protected:
    HostileBusTest() {
        auto [ours, theirs] = socket_pair();
        socket_ = std::move(theirs);
        bus_ = std::make_unique<RemoteBus>(
            reactor_, std::move(ours), echo_offer(), echo_, [this](const std::string& reason) {
                ended_ = true;
                reason_ = reason;
            });
    }

    void say(const Message& message) {
        const std::vector<std::uint8_t> bytes = encode(message);
        const std::vector<int> descriptors = descriptors_of(message);
        alignas(cmsghdr) std::array<char, CMSG_SPACE(2 * sizeof(int))> control{};
        iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        if (!descriptors.empty()) {
            header.msg_control = control.data();
            header.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
            cmsghdr* const rights = CMSG_FIRSTHDR(&header);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
            std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size() * sizeof(int));
        }
        (void)::sendmsg(socket_.get(), &header, MSG_NOSIGNAL);
        while (reactor_.run_once(0)) {
        }
    }
    void welcome() {
        const MemoryFile file = vm_.test_memory().file();
        say(Welcome{protocol_version, file.ranges, duplicate(file.file)});
    }
    [[nodiscard]] static Descriptor event() {
        return Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    }
    Open open_of(std::vector<std::uint64_t> in, std::vector<std::uint64_t> out) {
        Open open;
        open.channel.incoming_pages = std::move(in);
        open.channel.outgoing_pages = std::move(out);
        open.channel.event = event();
        open.interrupt = event();
        return open;
    }

    TestVm vm_;
    PollReactor reactor_;
    EchoService echo_{reactor_};
    Descriptor socket_;
    bool ended_ = false;
    std::string reason_;
    std::unique_ptr<RemoteBus> bus_;
};

/// The same with a service that is asked things and takes its time.
class HostileOwnerTest : public HostileBusTest {
protected:
    HostileOwnerTest() {
        auto [ours, theirs] = socket_pair();
        socket_ = std::move(theirs);
        bus_ = std::make_unique<RemoteBus>(
            reactor_, std::move(ours), echo_offer(), echo_,
            [this](const std::string& reason) {
                ended_ = true;
                reason_ = reason;
            },
            [this](std::span<const std::uint8_t> /*question*/, auto answered) {
                answered_ = std::move(answered);
            });
    }
    std::function<void(Bytes)> answered_;
};

TEST_F(HostileOwnerTest, QuestionsUponQuestions) {
    welcome();
    say(Ask{false, {1}});
    EXPECT_FALSE(answered_);
    say(Ask{true, {2}});
    ASSERT_TRUE(answered_);
    answered_({});
    say(Ask{true, {3}});
    EXPECT_FALSE(ended_);
    say(Ask{true, {4}});
    EXPECT_EQ(reason_, "found a question before the last one was answered");
    answered_({}); // late, and for nobody
}

TEST_F(HostileOwnerTest, QuestionsThatAreTooLong) {
    welcome();
    for (std::size_t sent = 0; sent <= longest_content && !ended_; sent += longest_part) {
        say(Ask{false, Bytes(longest_part)});
    }
    EXPECT_EQ(reason_, "found a question or an answer of more than 8 MiB");
}

TEST_F(HostileBusTest, MemoryThatIsNone) {
    const Descriptor small(memfd_create("small", MFD_CLOEXEC));
    say(Welcome{protocol_version, {{0, 1 << 20, 0}}, duplicate(small.get())});
    EXPECT_TRUE(ended_);
    EXPECT_EQ(reason_.substr(0, 12), "guest memory");
    EXPECT_FALSE(echo_.is_attached());
}

TEST_F(HostileBusTest, MemoryBeyondTheFile) {
    const MemoryFile file = vm_.test_memory().file();
    for (const MemoryFileRange& bad :
        {MemoryFileRange{0, 1 << 30, 0}, MemoryFileRange{0, 4096, std::uint64_t{1} << 40},
            MemoryFileRange{0, 4096, 1}, MemoryFileRange{1, 4096, 0}, MemoryFileRange{0, 0, 0},
            MemoryFileRange{0xfffffffffffff000, 0x2000, 0}}) {
        EXPECT_FALSE(MappedMemory::map(file.file, std::array{bad}));
    }
    EXPECT_TRUE(MappedMemory::map(file.file, file.ranges));
    const Descriptor pipe_like = event();
    EXPECT_FALSE(MappedMemory::map(pipe_like.get(), file.ranges));
}

TEST_F(HostileBusTest, RingsThatAreNoMemory) {
    welcome();
    ASSERT_TRUE(echo_.is_attached());
    say(open_of({1, 2}, {16, 17}));
    EXPECT_EQ(reason_, "found rings that aren't memory");
    EXPECT_FALSE(echo_.is_attached());
}

TEST_F(HostileBusTest, OpensTwice) {
    welcome();
    say(Start{});
    say(CreateGpadl{0, {1, {{4096, 0, {16}}}}});
    say(open_of({16, 17}, {18, 19}));
    EXPECT_EQ(echo_.open_channels(), 1U);
    say(open_of({16, 17}, {18, 19}));
    EXPECT_EQ(reason_, "found an open of a channel that is open");
    EXPECT_EQ(echo_.open_channels(), 0U) << "closed, and the GPADL torn down";
    EXPECT_TRUE(echo_.gpadls().empty());
    EXPECT_FALSE(echo_.is_attached());
}

TEST_F(HostileBusTest, WaitsForTheServiceToLetGo) {
    welcome();
    say(open_of({16, 17}, {18, 19}));
    echo_.hold_answers(true);
    socket_ = Descriptor();
    while (reactor_.run_once(0)) {
    }
    EXPECT_FALSE(ended_);
    echo_.hold_answers(false);
    echo_.answer_held();
    EXPECT_TRUE(ended_);
    EXPECT_EQ(reason_, "");
}

TEST_F(HostileBusTest, QuestionsThatNobodyAnswers) {
    welcome();
    say(Ask{true, {}});
    EXPECT_EQ(reason_, "found a question for a service that answers none");
}

TEST_F(HostileBusTest, OutOfOrder) {
    say(Start{});
    EXPECT_EQ(reason_, "found a message before the welcome");
    EXPECT_FALSE(echo_.is_attached());
}

} // namespace
} // namespace croft::vmbus::remote
