// SPDX-License-Identifier: Apache-2.0
//
// A model guest drives an adapter that is at the other end of a socket, with threads of its own.
#include "provider/nic_service.hpp"

#include "vdev/error.hpp"
#include "vmbus/remote/poll_reactor.hpp"
#include "vmbus/remote/remote_service.hpp"
#include "vsp/network/adapter.hpp"
#include "vsp/network/management.hpp"
#include "vsp/network/testing/network_fixture.hpp"

#include <functional>
#include <future>
#include <sys/socket.h>

namespace croft::provider {
namespace {

using namespace vsp::network;
using namespace vsp::network::testing;
using vmbus::remote::RemoteService;

constexpr std::uint32_t success = 1;

class NicServiceTest : public ::testing::Test {
protected:
    static constexpr std::uint16_t queues = 2;
    static constexpr vmbus::Guid instance = vmbus::Guid::of(1, 2, 3, {4});

    NicServiceTest() {
        vm_.server().start();
        start();
    }
    ~NicServiceTest() override {
        vm_.server().remove(device_);
        run_until([&] { return !remote_->is_attached(); });
        EXPECT_EQ(service_.get(), end_expected_);
    }

    void start() {
        int ends[2] = {-1, -1};
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        service_ = std::async(std::launch::async, [this, end = ends[1]] {
            return serve_nic(vmbus::Descriptor(end), network_,
                {guest_address, 9000, queues, is_plugged_, nullptr});
        });
        remote_ = std::make_unique<RemoteService>(reactor_, vmbus::Descriptor(ends[0]),
            vm_.test_memory().file(),
            RemoteService::Events{[this](const vmbus::Offer& offer) {
                                      EXPECT_EQ(offer, Adapter::offer({}));
                                      device_ =
                                          vm_.server().add(Adapter::offer(instance), *remote_);
                                      return "";
                                  },
                nullptr,
                [this](const std::string& reason) {
                    end_ = reason;
                    vm_.server().remove(device_);
                }});
        run_until([&] { return device_ != 0; });
    }
    void run_until(const std::function<bool()>& reached) {
        while (!reached()) {
            ASSERT_TRUE(reactor_.run_once(20000));
        }
    }
    void stop() {
        bool stopped = false;
        vm_.server().stop([&] { stopped = true; });
        run_until([&] { return stopped; });
    }

    void open() {
        ASSERT_TRUE(guest_.connect());
        offers_ = guest_.request_offers();
        ASSERT_EQ(offers_.size(), 1U);
        primary_ = guest_.open(offers_[0], 16);
        ASSERT_TRUE(primary_);
    }
    void boot() {
        open();
        ASSERT_TRUE(driver_.initialize(*primary_));
    }
    void expect_frames(unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            const Bytes out = frame_of(60 + i * 7 % 1400, other_address, i);
            ASSERT_EQ(driver_.send_by_section(*primary_, rndis_packet(out)), success);
            ASSERT_EQ(network_.receive().value_or(Frame()).bytes, out);
            const Bytes in = frame_of(60 + i * 11 % 1400, guest_address, i);
            network_.send({{}, in});
            const auto received = driver_.receive(*primary_);
            ASSERT_TRUE(received);
            ASSERT_EQ(received->bytes, in);
        }
    }
    /// Of what RNDIS says of the link.
    std::uint32_t link_status() {
        const auto message = driver_.control(*primary_);
        return message ? take_from<protocol::IndicateStatus>(*message, 8).status : 0;
    }

    vmbus::testing::TestVm vm_{2048};
    vmbus::PollReactor reactor_;
    SocketBackEnd network_{queues};
    bool is_plugged_ = true;
    std::future<std::string> service_;
    std::string end_expected_;
    std::unique_ptr<RemoteService> remote_;
    std::optional<std::string> end_;
    vmbus::Server::DeviceId device_{};
    DistantAdapter adapter_{[this](const vmbus::remote::Bytes& question) {
        std::optional<vmbus::remote::Bytes> answer;
        bool is_answered = false;
        remote_->ask(question, [&](std::optional<vmbus::remote::Bytes> content) {
            is_answered = true;
            answer = std::move(content);
        });
        run_until([&] { return is_answered; });
        return answer.value();
    }};
    vmbus::testing::ModelGuest guest_{vm_, [this] {
                                          return reactor_.run_once(5000);
                                      }};
    NetworkGuest driver_{vm_, guest_};
    std::vector<vmbus::protocol::OfferChannel> offers_;
    std::optional<vmbus::testing::ModelGuest::Channel> primary_;
};

TEST_F(NicServiceTest, CarriesFrames) {
    boot();
    expect_frames(200);
    const AdapterReport report = adapter_.report();
    EXPECT_TRUE(report.connected);
    EXPECT_EQ(report.channels, 1U);
    EXPECT_EQ(report.statistics.sent.frames[0], 200U);
    EXPECT_EQ(report.statistics.received.frames[0], 200U);
    ASSERT_TRUE(guest_.close(*primary_));
    boot();
    expect_frames(20);
    EXPECT_TRUE(vm_.reports().empty());
}

TEST_F(NicServiceTest, TellsHowTheLinkIs) {
    boot();
    adapter_.set_plugged(false);
    EXPECT_EQ(link_status(), protocol::rndis_media_disconnect);
    EXPECT_FALSE(adapter_.report().connected);
    adapter_.set_plugged(true);
    EXPECT_EQ(link_status(), protocol::rndis_media_connect);
    expect_frames(3);
}

TEST_F(NicServiceTest, StandsStillWhileItIsStopped) {
    boot();
    EXPECT_THROW((void)adapter_.save(), vdev::DeviceError);
    expect_frames(3);
    stop();
    network_.send({{}, frame_of(99)});
    const vdev::Record state = adapter_.save();
    EXPECT_EQ(adapter_.save(), state);
    EXPECT_EQ(adapter_.report().statistics.received.frames[0], 3U);
    vm_.server().start();
    EXPECT_EQ(driver_.receive(*primary_)->bytes, frame_of(99));
    expect_frames(3);
}

TEST_F(NicServiceTest, GoesOnInAnotherProcess) {
    boot();
    expect_frames(3);
    stop();
    const auto bus = vdev::Record::decode(vm_.server().save().encode());
    const auto state = vdev::Record::decode(adapter_.save().encode());
    // The VM is restored, with the guest as it was and everything else anew.
    vm_.replace_server();
    remote_.reset();
    EXPECT_EQ(service_.get(), "");
    device_ = 0;
    start();
    adapter_.restore(state);
    vm_.server().restore(bus);
    // Until the channel is open again.
    run_until([&] { return adapter_.report().channels == 1; });
    vm_.server().start();
    expect_frames(10);
}

TEST_F(NicServiceTest, ResetsWithoutAGuestOnly) {
    boot();
    EXPECT_THROW(adapter_.reset(), vdev::DeviceError);
    stop();
    EXPECT_THROW(adapter_.reset(), vdev::DeviceError);
    bool is_over = false;
    vm_.server().reset([&] { is_over = true; });
    run_until([&] { return is_over; });
    adapter_.reset();
    vm_.server().start();
    boot();
    expect_frames(3);
}

TEST_F(NicServiceTest, LetsGoWhenTheOtherEndIsGone) {
    boot();
    expect_frames(3);
    remote_->send_away("the test wants it");
    EXPECT_EQ(end_, "the test wants it");
    EXPECT_FALSE(remote_->is_attached());
}

TEST_F(NicServiceTest, EndsAWorkerThatBreaksTheRules) {
    boot();
    remote_->start(); // it runs already
    run_until([&] { return end_.has_value(); });
    EXPECT_EQ(end_, "");
    end_expected_ = "found a start of a service that runs";
}

} // namespace
} // namespace croft::provider
