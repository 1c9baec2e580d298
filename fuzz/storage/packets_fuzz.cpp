// SPDX-License-Identifier: Apache-2.0
//
// A storage driver that sends any packets and commands. Whatever they are, each is answered once,
// or the channel ends; and nothing is touched but the pages that a command names.
#include "disk/disk.hpp"
#include "disk/raw_image.hpp"
#include "tests/disk/memory_store.hpp"
#include "vmbus/testing/guest_ring.hpp"
#include "vmbus/vsp/ring_channel.hpp"
#include "vsp/storage/channel.hpp"
#include "vsp/storage/scsi/disk_unit.hpp"
#include "vsp/storage/scsi/dvd_unit.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <sys/eventfd.h>
#include <vector>

namespace {

using namespace croft;
using namespace croft::vsp::storage;
using vmbus::testing::GuestPacket;
using vmbus::testing::GuestReceiver;
using vmbus::testing::GuestRing;
using vmbus::testing::GuestSender;

/// Pages that lie apart, so that the sanitizer sees what goes beyond one.
class Pages final : public vmbus::GuestPages {
public:
    static constexpr std::size_t ring_pages = 3;
    static constexpr std::size_t first_data_page = 2 * ring_pages;
    static constexpr std::size_t count = first_data_page + 4;

    Pages() {
        for (auto& page : pages_) {
            page = std::make_unique<Page>();
        }
    }
    [[nodiscard]] std::uint8_t* page(std::uint64_t page) const override {
        return page < count ? pages_.at(page)->bytes.data() : nullptr;
    }

private:
    struct alignas(4096) Page {
        std::array<std::uint8_t, 4096> bytes{};
    };
    std::array<std::unique_ptr<Page>, count> pages_;
};

/// Of a thread that does what is posted to it. Files aren't used; the event is rung by hand.
class HandRing final : public disk::Ring {
public:
    void read(int, std::span<const iovec>, std::uint64_t,
        disk::Completion& completion) noexcept override {
        waiting_ = &completion;
    }
    void write(int, std::span<const iovec>, std::uint64_t,
        disk::Completion& completion) noexcept override {
        post(completion, -EBADF);
    }
    void poll(int, short, disk::Completion& completion) noexcept override {
        post(completion, -EBADF);
    }
    void cancel(disk::Completion& completion) noexcept override {
        if (waiting_ == &completion) {
            waiting_ = nullptr;
            post(completion, -ECANCELED);
        }
    }
    void post(disk::Completion& completion, int result) noexcept override {
        const std::lock_guard lock(mutex_);
        completion.posted_result = result;
        posted_.push_back(&completion);
        changed_.notify_one();
    }

    void signal() {
        if (waiting_ != nullptr) {
            post(*std::exchange(waiting_, nullptr), 8);
        }
    }
    void run_until(const bool& over) {
        while (!over) {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return !posted_.empty(); });
            run_one(lock);
        }
    }
    void run() {
        for (std::unique_lock lock(mutex_); !posted_.empty(); lock.lock()) {
            run_one(lock);
        }
    }

private:
    void run_one(std::unique_lock<std::mutex>& lock) {
        disk::Completion& completion = *posted_.front();
        posted_.pop_front();
        lock.unlock();
        completion.complete(completion.posted_result);
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<disk::Completion*> posted_;
    disk::Completion* waiting_ = nullptr;
};

class Owner final : public Channel::Owner {
public:
    void channel_failed(std::uint16_t, std::string_view) override { failed = true; }
    void request_refused(std::uint16_t, std::string_view) override {}
    void sub_channels_wanted(std::uint16_t count) override {
        if (count > 3) {
            std::abort();
        }
    }
    bool failed = false;
};

class NoInterrupt final : public vmbus::Interrupt {
public:
    void signal() override {}
};

std::unique_ptr<disk::Disk> make_disk(disk::Format format) {
    auto contents = std::make_shared<disk::test::MemoryStore::Contents>();
    contents->bytes.resize(1U << 20U);
    auto store = std::make_unique<disk::test::MemoryStore>(contents, format == disk::Format::iso);
    std::vector<std::unique_ptr<disk::Image>> images;
    images.push_back(
        disk::RawImage::open(std::move(store), format, format == disk::Format::iso ? 2048 : 512)
            .value());
    return std::make_unique<disk::Disk>(std::make_unique<disk::Chain>(std::move(images)));
}

/// One packet in the input. What the fields don't say is as a driver has it.
struct Step {
    std::uint8_t flags;
    std::uint8_t operation;
    std::uint8_t cdb_length;
    std::uint8_t sense_length;
    std::uint8_t direction;
    std::uint8_t lun;
    std::uint8_t target;
    std::uint8_t page_count;
    std::uint32_t data_length;
    std::uint32_t range_length;
    std::uint16_t range_offset;
    std::uint16_t first_page;
    std::array<std::uint8_t, 20> payload;
    std::array<std::uint8_t, 24> data;
};
static_assert(sizeof(Step) == 64);

constexpr std::uint8_t flag_in_band = 1;
constexpr std::uint8_t flag_other_type = 2;
constexpr std::uint8_t flag_no_completion = 4;
constexpr std::uint8_t flag_short = 8;
constexpr std::uint8_t flag_wait = 16;

GuestPacket packet_of(const Step& step) {
    protocol::ScsiRequest scsi{};
    scsi.cdb_length = step.cdb_length;
    scsi.sense_length = step.sense_length;
    scsi.direction = step.direction;
    scsi.lun = step.lun;
    scsi.target = step.target;
    scsi.data_length = step.data_length;
    scsi.payload = step.payload;
    protocol::Packet packet{};
    packet.header = {step.operation, 1, 0};
    packet.body = std::bit_cast<std::array<std::uint8_t, protocol::body_size>>(scsi);
    if (step.operation != 3) {
        std::memcpy(packet.body.data(), step.payload.data(), step.payload.size());
    }
    GuestPacket made;
    made.type = (step.flags & flag_in_band) != 0 ? 6 : (step.flags & flag_other_type) != 0 ? 7 : 9;
    made.flags = (step.flags & flag_no_completion) != 0 ? 0 : 1;
    made.transaction_id = 1;
    made.payload.resize((step.flags & flag_short) != 0 ? step.sense_length % 8 : 8);
    const auto words = std::bit_cast<std::array<std::uint64_t, 8>>(packet);
    std::copy_n(words.begin(), made.payload.size(), made.payload.begin());
    if (made.type != 6) {
        made.header = {
            std::uint64_t{1} << 32, step.range_length | std::uint64_t{step.range_offset} << 32};
        for (unsigned i = 0; i < step.page_count; ++i) {
            made.header.push_back(step.first_page + i);
        }
    }
    return made;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto hard_disk = make_disk(disk::Format::raw);
    static const auto disc = make_disk(disk::Format::iso);
    if (size == 0) {
        return 0;
    }
    Pages pages;
    const std::array<std::uint64_t, Pages::first_data_page> rings = {0, 1, 2, 3, 4, 5};
    const auto incoming = std::span(rings).first(Pages::ring_pages);
    const auto outgoing = std::span(rings).subspan(Pages::ring_pages);
    GuestSender sender(GuestRing(incoming, pages));
    GuestReceiver receiver(GuestRing(outgoing, pages));
    sender.ring().initialize();
    receiver.ring().initialize();

    vmbus::OpenChannel open;
    open.incoming_pages.assign(incoming.begin(), incoming.end());
    open.outgoing_pages.assign(outgoing.begin(), outgoing.end());
    open.event = vmbus::Descriptor(eventfd(0, EFD_CLOEXEC));
    open.interrupt = std::make_shared<NoInterrupt>();
    auto opened = vmbus::RingChannel::open(open, pages, Channel::largest_packet);

    HandRing ring;
    Owner owner;
    ChannelState state;
    state.negotiation.stage = static_cast<Stage>(data[0] % 5);
    Channel channel(data[0] / 5 % 2, std::move(*opened), ring, pages, owner, 3, state);
    const auto disk_unit =
        std::make_shared<scsi::DiskUnit>(scsi::Identity{}, hard_disk->geometry());
    const auto dvd_unit = std::make_shared<scsi::DvdUnit>(scsi::Identity{});
    dvd_unit->medium_changed(disc->geometry());
    channel.commands().set_drive(0, {disk_unit, hard_disk.get()});
    channel.commands().set_drive(1, {dvd_unit, disc.get()});
    channel.commands().set_drive(2, {std::make_shared<scsi::DvdUnit>(scsi::Identity{}), nullptr});
    channel.start();

    unsigned sent = 0;
    unsigned answered = 0;
    // A guest that has data put over its rings finds in them whatever comes of that.
    bool reads_its_rings = true;
    const auto read_answers = [&] {
        while (const auto packet = receiver.receive()) {
            answered += packet->transaction_id == 1 ? 1 : 0;
            if (receiver.commit()) {
                ring.signal();
            }
        }
    };
    for (std::size_t at = 1; size - at >= sizeof(Step); at += sizeof(Step)) {
        Step step;
        std::memcpy(&step, data + at, sizeof(step));
        std::ranges::copy(step.data, pages.page(Pages::first_data_page));
        if (step.page_count != 0 && step.first_page < Pages::first_data_page) {
            reads_its_rings = false;
        }
        const GuestSender::Sent result = sender.send(packet_of(step));
        sent += result != GuestSender::Sent::full ? 1 : 0;
        if (result == GuestSender::Sent::signal) {
            ring.signal();
        }
        if ((step.flags & flag_wait) == 0) {
            ring.run();
            read_answers();
        }
    }
    // A guest that goes on reading gets all its answers.
    for (unsigned before = ~0U; before != answered;) {
        before = answered;
        ring.signal();
        ring.run();
        read_answers();
    }
    bool idle = false;
    channel.quiesce([&] {
        channel.commands().release_disks();
        idle = true;
    });
    ring.run_until(idle);
    read_answers();
    if (reads_its_rings && (answered > sent || (!owner.failed && answered != sent))) {
        std::abort();
    }
    return 0;
}
