// SPDX-License-Identifier: Apache-2.0
//
// An adapter with threads of its own: several processors of a guest send on their channels while
// frames come, and the host stops the adapter and pulls its cable.
#include "disk/uring_ring.hpp"
#include "vmbus/testing/guest_ring.hpp"
#include "vmbus/testing/test_memory.hpp"
#include "vsp/network/adapter.hpp"
#include "vsp/network/protocol/ndis.hpp"
#include "vsp/network/testing/network_guest.hpp"
#include "vsp/network/testing/socket_back_end.hpp"
#include "vsp/threads/posted.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <mutex>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>

namespace croft::vsp::network {
namespace {

using protocol::MessageType;
using testing::Bytes;
using testing::concatenate;
using testing::SocketBackEnd;
using vmbus::testing::GuestPacket;
using vmbus::testing::GuestReceiver;
using vmbus::testing::GuestRing;
using vmbus::testing::GuestSender;
using vmbus::testing::TestMemory;

constexpr auto patience = std::chrono::seconds(60);
constexpr MacAddress address{{0x00, 0x15, 0x5d, 0, 0, 1}};
constexpr std::uint32_t receive_gpadl = 1;

/// The bus's thread: the test's own.
class Bus final : public vmbus::ChannelControl {
public:
    explicit Bus(const TestMemory& memory) : memory_(memory) {}

    void post(std::function<void()> function) {
        const std::lock_guard lock(mutex_);
        posted_.push_back(std::move(function));
        changed_.notify_one();
    }
    /// Runs what is posted until `over`.
    [[nodiscard]] bool run_until(const std::function<bool()>& over) {
        while (!over()) {
            std::unique_lock lock(mutex_);
            if (!changed_.wait_for(lock, patience, [&] { return !posted_.empty(); })) {
                return false;
            }
            const auto function = std::move(posted_.front());
            posted_.pop_front();
            lock.unlock();
            function();
        }
        return true;
    }

    [[nodiscard]] const vmbus::GuestPages& memory() const override { return memory_.pages(); }
    void opened(std::uint16_t) override { ++open_count; }
    void open_refused(std::uint16_t, std::string_view) override {}
    void request_refused(std::uint16_t, std::string_view) override {}
    void closed(std::uint16_t) override { ++close_count; }
    void gpadl_created(std::uint16_t, std::uint32_t, bool) override {}
    void gpadl_torn_down(std::uint16_t, std::uint32_t) override { ++torn_down_count; }
    void stopped() override { ++stop_count; }
    void offer_sub_channels(std::uint16_t) override {}
    void fail(std::uint16_t, std::string_view reason) override { ADD_FAILURE() << reason; }

    unsigned open_count = 0;
    unsigned close_count = 0;
    unsigned stop_count = 0;
    unsigned torn_down_count = 0;

private:
    const TestMemory& memory_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> posted_;
};

/// A thread that runs a ring.
class RingThread {
public:
    RingThread() {
        thread_ = std::thread([this] {
            ring_ = disk::UringRing::create().value();
            ready_ = true;
            ready_.notify_one();
            while (!quit_) {
                ring_->run(true);
            }
            ring_.reset();
        });
        ready_.wait(false);
    }
    ~RingThread() {
        post_to(*ring_, [this] { quit_ = true; });
        thread_.join();
    }
    RingThread(const RingThread&) = delete;
    RingThread& operator=(const RingThread&) = delete;

    [[nodiscard]] disk::Ring& ring() { return *ring_; }

private:
    std::unique_ptr<disk::UringRing> ring_;
    std::atomic<bool> ready_ = false;
    bool quit_ = false;
    std::thread thread_;
};

class GuestEvent final : public vmbus::Interrupt {
public:
    void signal() override {
        const std::lock_guard lock(mutex_);
        signalled_ = true;
        changed_.notify_one();
    }
    [[nodiscard]] bool wait() {
        std::unique_lock lock(mutex_);
        const bool came = changed_.wait_for(lock, patience, [&] { return signalled_; });
        signalled_ = false;
        return came;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool signalled_ = false;
};

/// A processor of the guest with a channel, on which it sends frames and gets answers.
class Processor {
public:
    static constexpr unsigned ring_pages = 8;

    Processor(std::uint16_t index, TestMemory& memory)
        : index_(index),
          memory_(memory),
          rings_(memory.allocate(std::uint64_t{ring_pages} * 2)),
          frame_page_(memory.allocate(1).front()),
          event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
          sender_(GuestRing(std::span(rings_).first(ring_pages), memory.pages())),
          receiver_(GuestRing(std::span(rings_).subspan(ring_pages), memory.pages())) {
        sender_.ring().initialize();
        receiver_.ring().initialize();
    }

    [[nodiscard]] vmbus::OpenChannel channel() const {
        vmbus::OpenChannel open;
        open.version = vmbus::protocol::version_5_3;
        open.incoming_pages.assign(rings_.begin(), rings_.begin() + ring_pages);
        open.outgoing_pages.assign(rings_.begin() + ring_pages, rings_.end());
        open.event = vmbus::Descriptor(fcntl(event_.get(), F_DUPFD_CLOEXEC, 0));
        open.interrupt = interrupt_;
        return open;
    }

    /// Up to the packet filter. Of the primary channel.
    void negotiate() {
        ask(testing::nvsp_message(MessageType::init,
            concatenate(protocol::Init{protocol::version_6_1, protocol::version_6_1})));
        ask(testing::nvsp_message(
            MessageType::send_ndis_config, concatenate(protocol::SendNdisConfig{1514, 0, 0})));
        ask(testing::nvsp_message(MessageType::send_receive_buffer,
            concatenate(protocol::SendBuffer{receive_gpadl, protocol::receive_buffer_id, 0})));
        request(testing::rndis_message(protocol::RndisType::initialize,
            concatenate(protocol::InitializeRequest{1, 1, 0, 0x4000})));
        Bytes filter = concatenate(protocol::OidRequest{
            2, static_cast<std::uint32_t>(protocol::Oid::current_packet_filter), 4, 20, 0});
        const Bytes value = concatenate(std::uint32_t{0x21});
        filter.insert(filter.end(), value.begin(), value.end());
        request(testing::rndis_message(protocol::RndisType::set, filter));
    }

    /// Sends frames, and goes on when as many have been completed.
    void run(unsigned frames) {
        const Bytes frame(100, static_cast<std::uint8_t>(index_));
        const Bytes message = testing::rndis_packet(frame);
        for (unsigned sent = 0; sent < frames; ++sent) {
            send_pages(message, protocol::rndis_channel_data);
            if (!take_until_completed()) {
                ADD_FAILURE() << "processor " << index_ << " was not woken";
                break;
            }
        }
        done = true;
    }

    std::atomic<bool> done = false;
    unsigned received = 0;

private:
    static constexpr std::uint64_t transaction = 0x77;

    void ask(const Bytes& message) {
        GuestPacket packet;
        packet.flags = 1;
        packet.payload.resize(message.size() / 8);
        std::memcpy(packet.payload.data(), message.data(), message.size());
        send(packet);
        ASSERT_TRUE(take_until_completed());
    }
    void request(const Bytes& message) {
        const unsigned before = received;
        send_pages(message, protocol::rndis_channel_control);
        ASSERT_TRUE(take_until_completed());
        while (received == before) {
            ASSERT_TRUE(take());
        }
    }
    void send_pages(const Bytes& message, std::uint32_t channel) {
        std::ranges::copy(message, memory_.pages().page(frame_page_));
        GuestPacket packet;
        packet.type = 9;
        packet.flags = 1;
        packet.header = {std::uint64_t{1} << 32, message.size(), frame_page_};
        const Bytes body = concatenate(
            protocol::RndisPacketMessage{static_cast<std::uint32_t>(MessageType::send_rndis_packet),
                {channel, protocol::no_section, 0}});
        packet.payload.resize(body.size() / 8);
        std::memcpy(packet.payload.data(), body.data(), body.size());
        send(packet);
    }
    void send(GuestPacket packet) {
        packet.transaction_id = packet.type == 11 ? packet.transaction_id : transaction;
        const GuestSender::Sent sent = sender_.send(packet);
        ASSERT_NE(sent, GuestSender::Sent::full);
        if (sent == GuestSender::Sent::signal) {
            ring_the_bell();
        }
    }
    void ring_the_bell() const {
        const std::uint64_t one = 1;
        ASSERT_EQ(::write(event_.get(), &one, sizeof(one)), 8);
    }
    /// The next packet; answers whether one came.
    bool take() {
        for (;;) {
            if (const auto packet = receiver_.receive()) {
                if (receiver_.commit()) {
                    ring_the_bell();
                }
                took(*packet);
                return true;
            }
            if (!interrupt_->wait()) {
                return false;
            }
        }
    }
    void took(const GuestPacket& packet) {
        completed_ = completed_ || packet.type == 11;
        if (packet.type == 7) {
            received += static_cast<unsigned>(packet.header.at(0) >> 32);
            GuestPacket answer;
            answer.type = 11;
            answer.transaction_id = packet.transaction_id;
            answer.payload = {0};
            send(answer);
        }
    }
    bool take_until_completed() {
        completed_ = false;
        while (!completed_) {
            if (!take()) {
                return false;
            }
        }
        return true;
    }

    std::uint16_t index_;
    TestMemory& memory_;
    std::vector<std::uint64_t> rings_;
    std::uint64_t frame_page_;
    vmbus::Descriptor event_;
    GuestSender sender_;
    GuestReceiver receiver_;
    std::shared_ptr<GuestEvent> interrupt_ = std::make_shared<GuestEvent>();
    bool completed_ = false;
};

TEST(AdapterThreadsTest, ChannelsInParallelWhileTheHostChangesThings) {
    constexpr std::uint16_t processor_count = 3;
    constexpr unsigned frames = 1000;
    TestMemory memory(512);
    Bus bus(memory);
    RingThread first;
    RingThread second;
    SocketBackEnd network(processor_count);
    Adapter adapter({{&first.ring(), &second.ring()},
                        [&](std::function<void()> function) {
                            bus.post(std::move(function));
                        }},
        network, address, 1500);
    adapter.attached(bus);
    adapter.start();
    const auto pages = memory.allocate(128);
    adapter.create_gpadl(0, {receive_gpadl, {{128 * 4096, 0, pages}}});
    std::vector<std::unique_ptr<Processor>> processors;
    for (std::uint16_t i = 0; i < processor_count; ++i) {
        processors.push_back(std::make_unique<Processor>(i, memory));
    }
    adapter.open(0, processors[0]->channel());
    std::atomic<bool> is_ready = false;
    std::thread setup([&] {
        processors[0]->negotiate();
        is_ready = true;
        bus.post([] {});
    });
    ASSERT_TRUE(bus.run_until([&] { return is_ready.load(); }));
    setup.join();
    for (std::uint16_t i = 1; i < processor_count; ++i) {
        adapter.open(i, processors[i]->channel());
    }
    ASSERT_EQ(bus.open_count, processor_count);
    std::vector<std::thread> threads;
    for (const auto& processor : processors) {
        threads.emplace_back([&processor] { processor->run(frames); });
    }
    const auto all_done = [&] {
        return std::ranges::all_of(processors, [](const auto& one) { return one->done.load(); });
    };
    unsigned came = 0;
    for (unsigned round = 1; !all_done(); ++round) {
        for (std::uint16_t queue = 0; queue < processor_count; ++queue) {
            while (network.receive(queue)) {
                ++came;
            }
            network.offer({{}, Bytes(60, 0xff)}, queue);
        }
        adapter.set_plugged(round % 4 != 0);
        (void)adapter.statistics();
        adapter.stop();
        ASSERT_TRUE(bus.run_until([&] { return bus.stop_count == round; }));
        (void)adapter.save();
        adapter.start();
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_GT(came, 0U);
    for (std::uint16_t i = processor_count; i-- > 0;) {
        adapter.close(i);
    }
    adapter.teardown_gpadl(0, receive_gpadl);
    ASSERT_TRUE(bus.run_until(
        [&] { return bus.close_count == processor_count && bus.torn_down_count == 1; }));
    adapter.detached();
}

} // namespace
} // namespace croft::vsp::network
