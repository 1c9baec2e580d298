// SPDX-License-Identifier: Apache-2.0
//
// A controller with threads of its own: several processors of a guest use several channels, while
// the host stops it, and brings units and takes them away.
#include "disk/open.hpp"
#include "disk/uring_ring.hpp"
#include "tests/disk/temporary.hpp"
#include "vmbus/testing/guest_ring.hpp"
#include "vmbus/testing/test_memory.hpp"
#include "vsp/storage/controller.hpp"
#include "vsp/storage/testing/memory_disk.hpp"
#include "vsp/storage/testing/storage_guest.hpp"
#include "vsp/threads/posted.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <mutex>
#include <random>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>

namespace croft::vsp::storage {
namespace {

using protocol::Operation;
using testing::GuestCommand;
using vmbus::testing::GuestPacket;
using vmbus::testing::GuestReceiver;
using vmbus::testing::GuestRing;
using vmbus::testing::GuestSender;
using vmbus::testing::TestMemory;

constexpr auto patience = std::chrono::seconds(60);

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
    void gpadl_torn_down(std::uint16_t, std::uint32_t) override {}
    void stopped() override { ++stop_count; }
    void offer_sub_channels(std::uint16_t) override {}
    void fail(std::uint16_t, std::string_view reason) override { ADD_FAILURE() << reason; }

    unsigned open_count = 0;
    unsigned close_count = 0;
    unsigned stop_count = 0;

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

/// A processor of the guest, with a channel and a part of the disk.
class Processor {
public:
    static constexpr std::uint32_t blocks = 256;
    static constexpr unsigned depth = 8;

    Processor(std::uint16_t index, TestMemory& memory)
        : index_(index),
          memory_(memory),
          rings_(memory.allocate(ring_pages * 2)),
          event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
          sender_(GuestRing(std::span(rings_).first(ring_pages), memory.pages())),
          receiver_(GuestRing(std::span(rings_).subspan(ring_pages), memory.pages())),
          random_(index) {
        sender_.ring().initialize();
        receiver_.ring().initialize();
        for (Slot& slot : slots_) {
            slot.page = memory.allocate(1).front();
        }
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

    /// Begins, and after `requests` writes and reads has ended.
    void run(unsigned requests) {
        if (index_ == 0) {
            negotiate();
        }
        for (Slot& slot : slots_) {
            start(slot);
        }
        for (unsigned answered = 0; answered < requests; ++answered) {
            const std::optional<GuestPacket> packet = receive();
            if (!packet) {
                ADD_FAILURE() << "processor " << index_ << " was not woken";
                return;
            }
            if (packet->transaction_id != 0) {
                finish(slots_.at(packet->transaction_id - 1), *packet);
                start(slots_.at(packet->transaction_id - 1));
            }
        }
        done = true;
    }

    std::atomic<bool> done = false;

private:
    static constexpr unsigned ring_pages = 4;
    struct Slot {
        std::uint64_t page = 0;
        std::uint32_t block = 0;
        std::uint8_t value = 0;
        bool reads = false;
    };

    void negotiate() {
        for (const Operation operation :
            {Operation::begin_initialization, Operation::query_protocol_version,
                Operation::query_properties, Operation::end_initialization}) {
            GuestPacket packet = testing::packet_of(operation, protocol::version_win10);
            packet.transaction_id = 99;
            send(packet);
            const auto answer = receive();
            ASSERT_TRUE(answer);
            ASSERT_EQ(testing::status_of(*answer), 0U);
        }
    }

    /// Writes a block that nobody uses at the time, or reads what was written to it.
    void start(Slot& slot) {
        const auto at = static_cast<std::size_t>(&slot - slots_.data());
        const auto number = static_cast<std::uint32_t>(random_() % (blocks / depth));
        slot.block = index_ * blocks + number * depth + static_cast<std::uint32_t>(at);
        slot.reads = random_() % 2 == 0;
        std::uint8_t* const page = memory_.pages().page(slot.page);
        if (slot.reads) {
            std::fill_n(page, 512, std::uint8_t{0xee});
        } else {
            slot.value = static_cast<std::uint8_t>(random_());
            std::fill_n(page, 512, slot.value);
        }
        GuestCommand command;
        command.transaction_id = at + 1;
        command.cdb = {static_cast<std::uint8_t>(slot.reads ? 0x28 : 0x2a), 0, 0, 0,
            static_cast<std::uint8_t>(slot.block >> 8), static_cast<std::uint8_t>(slot.block), 0, 0,
            1, 0};
        command.direction = slot.reads ? protocol::data_in : protocol::data_out;
        command.pages = {slot.page};
        command.length = 512;
        send(command.packet());
    }

    void finish(Slot& slot, const GuestPacket& packet) {
        ASSERT_TRUE(testing::result_of(packet).is_good());
        const std::uint32_t own = slot.block - index_ * blocks;
        if (slot.reads) {
            const std::uint8_t* const page = memory_.pages().page(slot.page);
            ASSERT_EQ(std::vector<std::uint8_t>(page, page + 512),
                std::vector<std::uint8_t>(512, contents_.at(own)));
        } else {
            contents_.at(own) = slot.value;
        }
    }

    void send(const GuestPacket& packet) {
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

    std::optional<GuestPacket> receive() {
        for (;;) {
            if (std::optional<GuestPacket> packet = receiver_.receive()) {
                if (receiver_.commit()) {
                    ring_the_bell();
                }
                return packet;
            }
            if (!interrupt_->wait()) {
                return std::nullopt;
            }
        }
    }

    std::uint32_t index_;
    TestMemory& memory_;
    std::vector<std::uint64_t> rings_;
    vmbus::Descriptor event_;
    GuestSender sender_;
    GuestReceiver receiver_;
    std::shared_ptr<GuestEvent> interrupt_ = std::make_shared<GuestEvent>();
    std::mt19937 random_;
    std::array<Slot, depth> slots_;
    std::array<std::uint8_t, blocks> contents_{};
};

TEST(ControllerThreadsTest, ChannelsInParallelWhileTheHostChangesThings) {
    constexpr std::uint16_t processor_count = 3;
    constexpr unsigned requests = 1500;
    const disk::test::TemporaryFolder folder;
    const std::string path = folder / "disk.img";
    std::ofstream(path).close();
    ASSERT_EQ(truncate(path.c_str(), std::int64_t{processor_count} * Processor::blocks * 512), 0);
    disk::OpenOptions options;
    options.write = true;
    options.format = disk::Format::raw;
    disk::Disk disk(disk::open_chain(path, options).value());
    testing::MemoryDisk other(1U << 20U);

    TestMemory memory(256);
    Bus bus(memory);
    RingThread first;
    RingThread second;
    Controller controller({{&first.ring(), &second.ring()},
                              [&](std::function<void()> function) {
                                  bus.post(std::move(function));
                              }},
        processor_count - 1);
    controller.add_disk(0, {}, disk);
    controller.attached(bus);
    controller.start();
    std::vector<std::unique_ptr<Processor>> processors;
    std::vector<std::thread> threads;
    for (std::uint16_t i = 0; i < processor_count; ++i) {
        processors.push_back(std::make_unique<Processor>(i, memory));
        controller.open(i, processors.back()->channel());
    }
    ASSERT_EQ(bus.open_count, processor_count);
    for (const auto& processor : processors) {
        threads.emplace_back([&processor] { processor->run(requests); });
    }
    const auto all_done = [&] {
        return std::ranges::all_of(processors, [](const auto& one) { return one->done.load(); });
    };
    for (unsigned round = 1; !all_done(); ++round) {
        bool removed = false;
        controller.add_disk(1, {}, other.disk());
        controller.stop();
        ASSERT_TRUE(bus.run_until([&] { return bus.stop_count == round; }));
        (void)controller.save();
        controller.start();
        controller.remove(1, [&] { removed = true; });
        ASSERT_TRUE(bus.run_until([&] { return removed; }));
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    // What is still under way ends first.
    for (std::uint16_t i = processor_count; i-- > 0;) {
        controller.close(i);
    }
    ASSERT_TRUE(bus.run_until([&] { return bus.close_count == processor_count; }));
    controller.detached();
}

} // namespace
} // namespace croft::vsp::storage
