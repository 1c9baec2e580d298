// SPDX-License-Identifier: Apache-2.0
//
// A network driver that sends any packets, by one channel or by two, while frames come. Whatever
// they are, each is completed once at most, by the channel that it came by, or the channel ends;
// nothing is touched but what the guest has given, and nothing of that when it has been taken back.
#include "vmbus/testing/guest_ring.hpp"
#include "vsp/network/adapter.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <sys/eventfd.h>
#include <vector>

namespace {

using namespace croft;
using namespace croft::vsp::network;
using vmbus::testing::GuestPacket;
using vmbus::testing::GuestReceiver;
using vmbus::testing::GuestRing;
using vmbus::testing::GuestSender;

/// Pages that lie apart, so that the sanitizer sees what goes beyond one.
class Pages final : public vmbus::GuestPages {
public:
    static constexpr std::size_t ring_pages = 5;
    static constexpr std::size_t channel_pages = 2 * ring_pages;
    static constexpr std::size_t channels = 2;
    static constexpr std::size_t first_receive_page = channels * channel_pages;
    /// Enough that two channels can share it.
    static constexpr std::size_t receive_pages = 64;
    static constexpr std::size_t first_send_page = first_receive_page + receive_pages;
    static constexpr std::size_t send_pages = 4;
    static constexpr std::size_t first_message_page = first_send_page + send_pages;
    static constexpr std::size_t message_pages = 4;
    static constexpr std::size_t count = first_message_page + message_pages;

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

/// Of a thread that does what is posted to it, when it is told to. The event is rung by hand, and
/// the network says by hand that it has frames.
class HandRing final : public disk::Ring {
public:
    void read(int, std::span<const iovec>, std::uint64_t,
        disk::Completion& completion) noexcept override {
        reading_ = &completion;
    }
    void write(int, std::span<const iovec>, std::uint64_t,
        disk::Completion& completion) noexcept override {
        post(completion, -EBADF);
    }
    void poll(int, short, disk::Completion& completion) noexcept override {
        polling_ = &completion;
    }
    void cancel(disk::Completion& completion) noexcept override {
        for (disk::Completion** const waiting : {&reading_, &polling_}) {
            if (*waiting == &completion) {
                *waiting = nullptr;
                post(completion, -ECANCELED);
            }
        }
    }
    void post(disk::Completion& completion, int result) noexcept override {
        completion.posted_result = result;
        posted_.push_back(&completion);
    }

    void signal() { end(reading_, 8); }
    void ready() { end(polling_, 1); }
    bool run() {
        const bool any = !posted_.empty();
        while (!posted_.empty()) {
            disk::Completion& completion = *posted_.front();
            posted_.pop_front();
            completion.complete(completion.posted_result);
        }
        return any;
    }

private:
    void end(disk::Completion*& waiting, int result) {
        if (waiting != nullptr) {
            post(*std::exchange(waiting, nullptr), result);
        }
    }

    std::deque<disk::Completion*> posted_;
    disk::Completion* reading_ = nullptr;
    disk::Completion* polling_ = nullptr;
};

/// Frames come from a list and go nowhere.
class ListQueue final : public Queue {
public:
    [[nodiscard]] int descriptor() const override { return -1; }
    [[nodiscard]] int receive(std::span<const iovec> segments) override {
        if (frames.empty()) {
            return -EAGAIN;
        }
        const std::vector<std::uint8_t> frame = std::move(frames.front());
        frames.pop_front();
        std::span<const std::uint8_t> rest(frame);
        for (const iovec& segment : segments) {
            const std::size_t size = std::min(segment.iov_len, rest.size());
            std::memcpy(segment.iov_base, rest.data(), size);
            rest = rest.subspan(size);
        }
        return static_cast<int>(frame.size() - rest.size());
    }
    [[nodiscard]] int send(std::span<const iovec> segments) override {
        std::size_t size = 0;
        for (const iovec& segment : segments) {
            const auto* const bytes = static_cast<const std::uint8_t*>(segment.iov_base);
            for (std::size_t i = 0; i < segment.iov_len; ++i) {
                sum_ = static_cast<std::uint8_t>(sum_ + bytes[i]);
            }
            size += segment.iov_len;
        }
        if (size > sizeof(FrameHeader) + largest_frame + vlan_tag_size) {
            std::abort();
        }
        return static_cast<int>(size);
    }
    void enable(bool enabled) override {
        if (enabled) {
            frames.clear();
        }
    }

    std::deque<std::vector<std::uint8_t>> frames;

private:
    std::uint8_t sum_ = 0;
};

class Lists final : public BackEnd {
public:
    [[nodiscard]] std::uint16_t queue_count() const override { return Pages::channels; }
    [[nodiscard]] ListQueue& queue(std::uint16_t number) override { return queues_.at(number); }
    void set_coalescing(Coalescing) override {}
    void set_scaling(const ReceiveScaling&) override {}
    void set_plugged(bool) override {}

private:
    std::array<ListQueue, Pages::channels> queues_;
};

class Bus final : public vmbus::ChannelControl {
public:
    explicit Bus(const Pages& pages) : pages_(pages) {}
    [[nodiscard]] const vmbus::GuestPages& memory() const override { return pages_; }
    void opened(std::uint16_t channel) override { is_open.at(channel) = true; }
    void open_refused(std::uint16_t channel, std::string_view reason) override {
        if (reason.empty()) {
            std::abort();
        }
        is_open.at(channel) = false;
    }
    void request_refused(std::uint16_t, std::string_view reason) override {
        if (reason.empty() || reason.find('\n') != std::string_view::npos) {
            std::abort();
        }
    }
    void closed(std::uint16_t channel) override { is_open.at(channel) = false; }
    void gpadl_created(std::uint16_t, std::uint32_t, bool) override {}
    void gpadl_torn_down(std::uint16_t, std::uint32_t) override { ++torn_down; }
    void stopped() override { is_stopped = true; }
    void offer_sub_channels(std::uint16_t count) override {
        if (count >= Pages::channels || count < offered) {
            std::abort();
        }
        offered = count;
    }
    void fail(std::uint16_t, std::string_view) override {}

    std::array<bool, Pages::channels> is_open{};
    /// How many sub-channels the guest may open.
    std::uint16_t offered = 0;
    bool is_stopped = false;
    unsigned torn_down = 0;

private:
    const Pages& pages_;
};

class NoInterrupt final : public vmbus::Interrupt {
public:
    void signal() override {}
};

std::vector<std::uint64_t> numbers(std::size_t first, std::size_t count) {
    std::vector<std::uint64_t> pages(count);
    for (std::size_t i = 0; i < count; ++i) {
        pages[i] = first + i;
    }
    return pages;
}

/// A channel as the guest has it, and the thread that serves it.
class Line {
public:
    Line(const Pages& pages, std::size_t number);
    /// With empty rings.
    [[nodiscard]] vmbus::OpenChannel open();
    void send(GuestPacket packet);
    void take_all();
    /// Completes all that has been taken.
    void complete_all();
    /// Completes anything.
    void complete(std::uint64_t transaction_id, std::uint16_t flags);

    HandRing thread;

private:
    std::vector<std::uint64_t> rings_;
    GuestSender sender_;
    GuestReceiver receiver_;
    std::deque<std::uint64_t> held_;
    unsigned sent_ = 0;
    unsigned completed_ = 0;
};

Line::Line(const Pages& pages, std::size_t number)
    : rings_(numbers(number * Pages::channel_pages, Pages::channel_pages)),
      sender_(GuestRing(std::span(rings_).first(Pages::ring_pages), pages)),
      receiver_(GuestRing(std::span(rings_).subspan(Pages::ring_pages), pages)) {}

vmbus::OpenChannel Line::open() {
    sender_.ring().initialize();
    receiver_ = GuestReceiver(receiver_.ring());
    receiver_.ring().initialize();
    held_.clear();
    sent_ = completed_ = 0;
    vmbus::OpenChannel open;
    open.incoming_pages.assign(rings_.begin(), rings_.begin() + Pages::ring_pages);
    open.outgoing_pages.assign(rings_.begin() + Pages::ring_pages, rings_.end());
    open.event = vmbus::Descriptor(eventfd(0, EFD_CLOEXEC));
    open.interrupt = std::make_shared<NoInterrupt>();
    return open;
}

void Line::send(GuestPacket packet) {
    packet.transaction_id = 1;
    const bool answered = (packet.flags & 1) != 0 && packet.type != 11;
    switch (sender_.send(packet)) {
    case GuestSender::Sent::full:
        return;
    case GuestSender::Sent::signal:
        thread.signal();
        break;
    case GuestSender::Sent::quiet:
        break;
    }
    sent_ += answered ? 1 : 0;
}

void Line::take_all() {
    while (const auto packet = receiver_.receive()) {
        if (packet->type == 11) {
            ++completed_;
        } else if (packet->type == 7) {
            held_.push_back(packet->transaction_id);
        }
        if (receiver_.commit()) {
            thread.signal();
        }
    }
    if (completed_ > sent_) {
        std::abort();
    }
}

void Line::complete_all() {
    take_all();
    for (; !held_.empty(); held_.pop_front()) {
        complete(held_.front(), 0);
    }
}

void Line::complete(std::uint64_t transaction_id, std::uint16_t flags) {
    GuestPacket packet;
    packet.type = 11;
    packet.flags = flags;
    packet.payload = {0};
    packet.transaction_id = transaction_id;
    if (sender_.send(packet) == GuestSender::Sent::signal) {
        thread.signal();
    }
}

/// One thing that happens, in the input.
struct Step {
    std::uint8_t kind; // Kind
    std::uint8_t flags;
    std::uint16_t length;
    std::uint32_t first;
    std::uint32_t second;
    std::array<std::uint8_t, 116> data;
};
static_assert(sizeof(Step) == 128);

enum Kind : std::uint8_t {
    kind_message,
    kind_request,
    kind_section,
    kind_pages,
    kind_both,
    kind_completion,
    kind_complete_all,
    kind_frame,
    kind_plug,
    kind_pause,
    kind_raw,
    kind_tear_down,
    kind_open_sub_channel,
    kind_close_sub_channel,
    kind_count,
};

constexpr std::uint8_t flag_no_completion = 1;
/// What follows comes before anybody looks.
constexpr std::uint8_t flag_wait = 2;
/// By the sub-channel, or to it, if it is open.
constexpr std::uint8_t flag_sub_channel = 4;

constexpr std::uint32_t receive_gpadl = 11;
constexpr std::uint32_t send_gpadl = 12;

/// The guest, the host and what is between them.
class World {
public:
    World();
    /// As far as a driver comes that frames go to and fro.
    void initialize();
    void step(const Step& step);
    void finish();

private:
    void run();
    void exchange(std::uint32_t type, std::initializer_list<std::uint32_t> body);
    void request(std::initializer_list<std::uint32_t> message);
    void take_all();
    void pages(const Step& step, GuestPacket& packet, std::uint32_t channel);
    void frame(const Step& step);
    void pause();
    void open_sub_channel();
    void close_sub_channel();
    [[nodiscard]] std::uint16_t channel_of(const Step& step) const;
    void give_gpadl(std::uint32_t id, std::size_t first, std::size_t count);
    [[nodiscard]] static GuestPacket message(
        std::uint32_t type, std::span<const std::uint8_t> body);
    [[nodiscard]] std::vector<std::uint8_t> receive_memory() const;

    Pages pages_;
    std::array<Line, Pages::channels> lines_{Line(pages_, 0), Line(pages_, 1)};
    std::deque<std::function<void()>> posted_;
    Lists network_;
    Bus bus_{pages_};
    Adapter adapter_;
};

World::World()
    : adapter_({{&lines_[0].thread, &lines_[1].thread},
                   [this](std::function<void()> function) {
                       posted_.push_back(std::move(function));
                   }},
          network_, MacAddress{{0, 0x15, 0x5d, 1, 2, 3}}, 9000) {
    adapter_.attached(bus_);
    adapter_.start();
    give_gpadl(receive_gpadl, Pages::first_receive_page, Pages::receive_pages);
    give_gpadl(send_gpadl, Pages::first_send_page, Pages::send_pages);
    adapter_.open(0, lines_[0].open());
    run();
}

void World::give_gpadl(std::uint32_t id, std::size_t first, std::size_t count) {
    adapter_.create_gpadl(
        0, {id, {{static_cast<std::uint32_t>(count * 4096), 0, numbers(first, count)}}});
}

void World::run() {
    for (bool any = true; any;) {
        any = false;
        for (Line& line : lines_) {
            any |= line.thread.run();
        }
        while (!posted_.empty()) {
            const auto function = std::move(posted_.front());
            posted_.pop_front();
            function();
            any = true;
        }
    }
}

void World::take_all() {
    for (std::uint16_t channel = 0; channel < Pages::channels; ++channel) {
        if (bus_.is_open.at(channel)) {
            lines_.at(channel).take_all();
        }
    }
}

std::uint16_t World::channel_of(const Step& step) const {
    return (step.flags & flag_sub_channel) != 0 && bus_.is_open[1] ? 1 : 0;
}

void World::open_sub_channel() {
    if (bus_.offered != 0 && !bus_.is_open[1]) {
        adapter_.open(1, lines_[1].open());
        run();
    }
}

void World::close_sub_channel() {
    if (bus_.is_open[1]) {
        adapter_.close(1);
        run();
        if (bus_.is_open[1]) {
            std::abort();
        }
    }
}

void World::pause() {
    bus_.is_stopped = false;
    adapter_.stop();
    run();
    if (!bus_.is_stopped) {
        std::abort();
    }
    // A state that was saved can be read.
    (void)AdapterState::load(vdev::Record::decode(adapter_.save().encode()));
    adapter_.start();
}

GuestPacket World::message(std::uint32_t type, std::span<const std::uint8_t> body) {
    protocol::Message message{type, {}};
    std::copy_n(body.begin(), std::min(body.size(), message.body.size()), message.body.begin());
    GuestPacket packet;
    packet.flags = 1;
    packet.payload.resize(sizeof(message) / 8);
    std::memcpy(packet.payload.data(), &message, sizeof(message));
    return packet;
}

/// `first` is where in the message its data lies, `second` how long the range says that it is.
void World::pages(const Step& step, GuestPacket& packet, std::uint32_t channel) {
    const std::uint32_t offset = step.first % 4096;
    for (std::size_t i = 0; i < step.data.size(); ++i) {
        const std::size_t at = offset + i;
        pages_.page(Pages::first_message_page + at / 4096)[at % 4096] = step.data[i];
    }
    const std::uint32_t length = step.second != 0 ? step.second : step.length;
    packet.type = 9;
    packet.header = {std::uint64_t{1} << 32, length | std::uint64_t{offset} << 32};
    for (std::size_t i = 0; i < (std::size_t{offset} + length + 4095) / 4096 && i < 40; ++i) {
        packet.header.push_back(Pages::first_message_page + i);
    }
    if (packet.payload.empty()) {
        const protocol::SendRndisPacket body{channel, protocol::no_section, 0};
        std::array<std::uint8_t, sizeof(body)> bytes{};
        std::memcpy(bytes.data(), &body, sizeof(body));
        packet.payload = message(107, bytes).payload;
    }
}

void World::exchange(std::uint32_t type, std::initializer_list<std::uint32_t> body) {
    Step made{};
    made.kind = kind_message;
    made.first = type;
    std::memcpy(made.data.data(), body.begin(), body.size() * sizeof(std::uint32_t));
    step(made);
}

void World::request(std::initializer_list<std::uint32_t> message) {
    Step made{};
    made.kind = kind_request;
    made.length = static_cast<std::uint16_t>(message.size() * sizeof(std::uint32_t));
    std::memcpy(made.data.data(), message.begin(), made.length);
    step(made);
    made.kind = kind_complete_all;
    step(made);
}

void World::initialize() {
    constexpr std::uint32_t mtu = 1514;
    constexpr std::uint32_t rsc = 0x02020000;
    exchange(1, {protocol::version_6_1, protocol::version_6_1});
    exchange(125, {mtu, 0, 0x88, 0});
    exchange(101, {receive_gpadl, protocol::receive_buffer_id});
    exchange(104, {send_gpadl, 0});
    request({2, 24, 1, 1, 0, 0x4000});
    request({5, 56, 2, 0xfc01020c, 28, 20, 0, 0x001c0380, 0, 0, 0, 0, rsc, 0});
    request({5, 32, 3, 0x1010e, 4, 20, 0, 0x2d});
    exchange(133, {protocol::sub_channel_allocate, 1});
    open_sub_channel();
    if (!bus_.is_open[1]) {
        std::abort();
    }
}

void World::frame(const Step& step) {
    std::vector<std::uint8_t> bytes(sizeof(FrameHeader) + step.length);
    std::copy_n(step.data.begin(), std::min(bytes.size(), step.data.size()), bytes.begin());
    const std::uint16_t channel = channel_of(step);
    network_.queue(channel).frames.push_back(std::move(bytes));
    lines_.at(channel).thread.ready();
}

void World::step(const Step& step) {
    Line& line = lines_.at(channel_of(step));
    GuestPacket packet;
    packet.flags = (step.flags & flag_no_completion) != 0 ? 0 : 1;
    switch (step.kind % kind_count) {
    case kind_message:
        packet = message(step.first, step.data);
        packet.flags = (step.flags & flag_no_completion) != 0 ? 0 : 1;
        line.send(packet);
        break;
    case kind_request:
        pages(step, packet, protocol::rndis_channel_control);
        line.send(packet);
        break;
    case kind_section:
    case kind_both: {
        const protocol::SendRndisPacket body{0, step.first, step.second};
        std::array<std::uint8_t, sizeof(body)> bytes{};
        std::memcpy(bytes.data(), &body, sizeof(body));
        const auto flags = packet.flags;
        packet = message(107, bytes);
        packet.flags = flags;
        std::ranges::copy(step.data, pages_.page(Pages::first_send_page));
        if (step.kind % kind_count == kind_both) {
            pages(step, packet, 0);
        }
        line.send(packet);
        break;
    }
    case kind_pages:
        pages(step, packet, protocol::rndis_channel_data);
        line.send(packet);
        break;
    case kind_completion:
        line.complete(step.first, packet.flags);
        break;
    case kind_complete_all:
        line.complete_all();
        break;
    case kind_frame:
        frame(step);
        break;
    case kind_plug:
        adapter_.set_plugged(step.first % 2 != 0);
        break;
    case kind_pause:
        pause();
        break;
    case kind_raw:
        packet.type = static_cast<std::uint16_t>(step.first);
        packet.header.resize(step.second % 4);
        packet.payload.resize(step.length % 15);
        if (!packet.payload.empty()) {
            std::memcpy(packet.payload.data(), step.data.data(), 8 * packet.payload.size());
        }
        line.send(packet);
        break;
    case kind_tear_down:
        adapter_.teardown_gpadl(0, step.first % 2 != 0 ? receive_gpadl : send_gpadl);
        break;
    case kind_open_sub_channel:
        open_sub_channel();
        break;
    case kind_close_sub_channel:
        close_sub_channel();
        break;
    default:
        break;
    }
    if ((step.flags & flag_wait) == 0) {
        run();
        take_all();
        run();
    }
}

std::vector<std::uint8_t> World::receive_memory() const {
    std::vector<std::uint8_t> bytes;
    for (std::size_t i = 0; i < Pages::receive_pages; ++i) {
        const std::uint8_t* const page = pages_.page(Pages::first_receive_page + i);
        bytes.insert(bytes.end(), page, page + 4096);
    }
    return bytes;
}

void World::finish() {
    run();
    const unsigned before = bus_.torn_down;
    adapter_.teardown_gpadl(0, receive_gpadl);
    run();
    if (bus_.torn_down == before) {
        std::abort();
    }
    // It is the guest's alone from here on.
    const auto memory = receive_memory();
    Step last{};
    last.length = 100;
    last.data.fill(0xff);
    frame(last);
    last.flags = flag_sub_channel;
    frame(last);
    run();
    if (receive_memory() != memory) {
        std::abort();
    }
    close_sub_channel();
    adapter_.close(0);
    run();
    if (bus_.is_open[0]) {
        std::abort();
    }
    adapter_.detached();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    World world;
    if (data[0] % 2 != 0) {
        world.initialize();
    }
    for (std::size_t at = 1; size - at >= sizeof(Step); at += sizeof(Step)) {
        Step step;
        std::memcpy(&step, data + at, sizeof(step));
        world.step(step);
    }
    world.finish();
    return 0;
}
