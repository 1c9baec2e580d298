// SPDX-License-Identifier: Apache-2.0
//
// Two threads, a guest and an echoing host, that sleep until they are signalled: a wake-up that is
// lost stops them.
#include "vmbus/vsp/ring_channel.hpp"

#include "vmbus/testing/guest_ring.hpp"
#include "vmbus/testing/test_memory.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <gtest/gtest.h>
#include <mutex>
#include <poll.h>
#include <random>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>

namespace croft::vmbus {
namespace {

using testing::GuestPacket;
using testing::GuestReceiver;
using testing::GuestRing;
using testing::GuestSender;
using testing::TestMemory;

/// Sleeps until signalled, as a processor of the guest does.
class GuestEvent final : public Interrupt {
public:
    void signal() override {
        const std::lock_guard lock(mutex_);
        signalled_ = true;
        ++count_;
        changed_.notify_one();
    }
    [[nodiscard]] bool wait() {
        std::unique_lock lock(mutex_);
        const bool came =
            changed_.wait_for(lock, std::chrono::seconds(20), [&] { return signalled_; });
        signalled_ = false;
        return came;
    }
    [[nodiscard]] unsigned count() {
        const std::lock_guard lock(mutex_);
        return count_;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool signalled_ = false;
    unsigned count_ = 0;
};

/// Takes packets and sends them back as completions; holds what it can't send.
class EchoHost {
public:
    EchoHost(RingChannel channel, std::size_t held_most)
        : channel_(std::move(channel)),
          held_most_(held_most) {}

    void run(const std::atomic<bool>& quit, int quit_event) {
        while (!quit) {
            pollfd ready[2] = {{channel_.event(), POLLIN, 0}, {quit_event, POLLIN, 0}};
            if (poll(ready, 2, 20000) <= 0) {
                lost_ = true;
                return;
            }
            channel_.clear_event();
            work();
        }
    }
    [[nodiscard]] bool lost() const { return lost_; }

private:
    struct Reply {
        std::uint64_t transaction_id;
        std::vector<std::uint8_t> payload;
    };

    bool send_held() {
        while (!held_.empty()) {
            OutgoingPacket packet;
            packet.type = protocol::PacketType::completion;
            packet.transaction_id = held_.front().transaction_id;
            packet.payload[0] = held_.front().payload;
            if (!channel_.queue(packet).value()) {
                return false;
            }
            held_.pop_front();
        }
        return true;
    }

    void work() {
        // A ring that isn't empty when we stop won't be signalled: only stop for lack of space.
        while (send_held()) {
            const bool empty = channel_
                                   .receive([&](const Packet& packet) {
                                       held_.push_back({packet.transaction_id,
                                           {packet.payload.begin(), packet.payload.end()}});
                                       return held_.size() < held_most_;
                                   })
                                   .value();
            if (empty && held_.empty()) {
                break;
            }
        }
        channel_.flush();
    }

    RingChannel channel_;
    std::size_t held_most_;
    std::deque<Reply> held_;
    bool lost_ = false;
};

struct Shape {
    std::uint64_t out_pages;
    std::uint64_t in_pages;
    std::size_t held_most;
    std::size_t most_words;
};

class EchoTest : public ::testing::TestWithParam<Shape> {};

TEST_P(EchoTest, NoWakeUpIsLost) {
    const auto [out_pages, in_pages, held_most, most_words] = GetParam();
    TestMemory memory(32);
    OpenChannel open;
    open.incoming_pages = memory.allocate(out_pages);
    open.outgoing_pages = memory.allocate(in_pages);
    GuestSender sender(GuestRing(open.incoming_pages, memory.pages()));
    GuestReceiver receiver(GuestRing(open.outgoing_pages, memory.pages()));
    sender.ring().initialize();
    receiver.ring().initialize();
    const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    open.event = Descriptor(event);
    const Descriptor quit_event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    const auto guest_event = std::make_shared<GuestEvent>();
    open.interrupt = guest_event;
    std::atomic<unsigned> host_signals = 0;
    const auto ring_bell = [&](int bell) {
        const std::uint64_t one = 1;
        ASSERT_EQ(::write(bell, &one, sizeof(one)), 8);
    };
    const auto signal_host = [&] {
        ++host_signals;
        ring_bell(event);
    };

    EchoHost host(RingChannel::open(open, memory.pages(), 65536).value(), held_most);
    std::atomic<bool> quit = false;
    std::thread host_thread([&] { host.run(quit, quit_event.get()); });
    signal_host(); // a channel that was opened works once unasked

    constexpr std::uint64_t count = 20000;
    std::mt19937_64 random(most_words);
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::deque<std::uint64_t> sizes;
    bool ok = true;
    while (ok && received < count) {
        bool progress = false;
        sender.stop_waiting();
        while (sent < count) {
            GuestPacket packet;
            packet.transaction_id = sent;
            packet.payload.assign(random() % most_words, sent);
            const GuestSender::Sent result = sender.send(packet);
            if (result == GuestSender::Sent::full) {
                // Sleeps for space and for replies alike.
                progress = sender.wait_for(static_cast<std::uint32_t>(8 * (most_words + 3)));
                break;
            }
            sizes.push_back(packet.payload.size());
            ++sent;
            if (result == GuestSender::Sent::signal) {
                signal_host();
            }
        }
        receiver.mask();
        while (const std::optional<GuestPacket> packet = receiver.receive()) {
            ok = ok && packet->type == 11 && packet->transaction_id == received &&
                packet->payload == std::vector<std::uint64_t>(sizes.front(), received);
            sizes.pop_front();
            ++received;
        }
        if (receiver.commit()) {
            signal_host();
        }
        progress = receiver.unmask() || progress;
        if (!progress && received < count && !guest_event->wait()) {
            ADD_FAILURE() << "the guest slept for ever after " << sent << " sent, " << received
                          << " received";
            break;
        }
    }
    EXPECT_TRUE(ok);
    quit = true;
    ring_bell(quit_event.get());
    host_thread.join();
    EXPECT_FALSE(host.lost());
    EXPECT_LT(host_signals, 2 * count) << "not more than the ring's turns from empty and from full";
    EXPECT_LT(guest_event->count(), 2 * count);
}

INSTANTIATE_TEST_SUITE_P(Shapes, EchoTest,
    ::testing::Values(Shape{2, 2, 1, 8}, Shape{2, 2, 4, 100}, Shape{5, 2, 16, 200},
        Shape{2, 6, 64, 200}, Shape{3, 3, 1000, 1}));

/// Both rings of a channel, in one thread.
class AnswersTest : public ::testing::Test {
protected:
    static constexpr std::uint32_t answer = 16 + 8 + 8;

    AnswersTest() {
        GuestRing(in_pages_, memory_.pages()).initialize();
        GuestRing(out_pages_, memory_.pages()).initialize();
        OpenChannel open;
        open.incoming_pages = in_pages_;
        open.outgoing_pages = out_pages_;
        open.interrupt = std::make_shared<Watcher>(*this);
        channel_.emplace(RingChannel::open(open, memory_.pages(), 16384).value());
    }

    /// Looks, whenever the guest is signalled, at what it may believe.
    class Watcher final : public Interrupt {
    public:
        explicit Watcher(AnswersTest& test) : test_(test) {}
        void signal() override {
            ++test_.signals_;
            EXPECT_LE(test_.given_back(), test_.answers_shown());
        }

    private:
        AnswersTest& test_;
    };

    /// Packets of one word, which all that the guest sends is.
    [[nodiscard]] std::uint32_t given_back() const {
        return GuestRing(in_pages_, memory_.pages()).load(4) / 32;
    }
    [[nodiscard]] std::uint32_t answers_shown() const {
        return GuestRing(out_pages_, memory_.pages()).load(0) / answer;
    }
    unsigned send_all() {
        GuestPacket packet;
        packet.flags = 1;
        packet.payload = {1};
        unsigned sent = 0;
        while (sender_.send(packet) != GuestSender::Sent::full) {
            ++sent;
        }
        return sent;
    }
    bool serve() {
        const auto complete = [this](const Packet& packet) {
            const std::uint64_t word = 0;
            OutgoingPacket completion;
            completion.type = protocol::PacketType::completion;
            completion.transaction_id = packet.transaction_id;
            completion.payload[0] = {reinterpret_cast<const std::uint8_t*>(&word), sizeof(word)};
            EXPECT_TRUE(channel_->queue(completion).value());
            return true;
        };
        return channel_->receive(complete, answer).value();
    }

    TestMemory memory_{64};
    std::vector<std::uint64_t> in_pages_ = memory_.allocate(5);
    std::vector<std::uint64_t> out_pages_ = memory_.allocate(3);
    GuestSender sender_{GuestRing(in_pages_, memory_.pages())};
    std::optional<RingChannel> channel_;
    unsigned signals_ = 0;
};

TEST_F(AnswersTest, AreShownBeforeTheSpaceOfTheirPacketsIsGivenBack) {
    const unsigned sent = send_all();
    ASSERT_GT(sent, 200U);
    // The guest waits for space, so that it is signalled when there is some.
    ASSERT_FALSE(sender_.wait_for(64));
    EXPECT_FALSE(serve()) << "the other ring is smaller";
    EXPECT_GT(signals_, 0U);
    // What isn't answered is where it was.
    EXPECT_EQ(given_back(), answers_shown());
    EXPECT_EQ(answers_shown(), 2 * 4096 / answer - 1);
    EXPECT_FALSE(channel_->has_room(answer).value());
    GuestReceiver receiver(GuestRing(out_pages_, memory_.pages()));
    EXPECT_TRUE(receiver.receive());
    EXPECT_TRUE(receiver.receive());
    EXPECT_TRUE(receiver.commit()) << "we wait for just that";
    EXPECT_TRUE(channel_->has_room(answer).value());
    EXPECT_FALSE(serve());
    EXPECT_EQ(given_back(), 2 * 4096 / answer + 1);
}

TEST(HostileGuestTest, ChangesEverythingWhileItIsRead) {
    TestMemory memory(16);
    const std::vector<std::uint64_t> in = memory.allocate(3);
    const std::vector<std::uint64_t> out = memory.allocate(2);
    GuestRing sender(in, memory.pages());
    GuestRing receiver(out, memory.pages());
    sender.initialize();
    receiver.initialize();
    std::atomic<bool> quit = false;
    std::thread guest([&] {
        std::mt19937_64 random(5);
        const auto index = [&] {
            return static_cast<std::uint32_t>(random() % 9000 & ~7U);
        };
        while (!quit) {
            GuestRing& ring = random() % 2 == 0 ? sender : receiver;
            const std::uint64_t what = random() % 16;
            if (what < 5) {
                ring.store(std::array{0U, 4U, 8U, 12U, 64U}[what], index());
            } else {
                // Descriptors and ranges that are often nearly right.
                const std::uint64_t length = 2 + random() % 6;
                ring.set_word(index(), (6 + random() % 6) | 2U << 16 | length << 32);
            }
        }
    });
    std::uint64_t packets = 0;
    std::uint64_t errors = 0;
    std::vector<PageRange> ranges;
    // Until there was enough of both, however seldom the guest's thread gets a processor.
    for (unsigned round = 0; round < 20000 || packets < 100 || errors < 100; ++round) {
        OpenChannel open;
        open.incoming_pages = in;
        open.outgoing_pages = out;
        open.interrupt = std::make_shared<GuestEvent>();
        auto channel = RingChannel::open(open, memory.pages(), 4096);
        if (!channel) {
            ++errors;
            continue;
        }
        unsigned most = 20;
        const auto received = channel->receive([&](const Packet& packet) {
            ++packets;
            EXPECT_LE(packet.payload.size() + packet.header.size_bytes(), 4096U);
            (void)parse_gpa_direct(packet, ranges);
            return --most != 0;
        });
        errors += received ? 0U : 1U;
        for (unsigned i = 0; i < 4; ++i) {
            (void)channel->send({});
        }
    }
    quit = true;
    guest.join();
}

} // namespace
} // namespace croft::vmbus
