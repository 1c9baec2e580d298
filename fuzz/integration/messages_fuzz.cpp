// SPDX-License-Identifier: Apache-2.0
//
// A guest's driver of an integration component that answers anything, at any time. Nobody who waits
// for its answer waits for ever, nor hears twice; and what it says of itself stays within bounds.
#include "vdev/fake_platform.hpp"
#include "vmbus/testing/guest_ring.hpp"
#include "vsp/integration/heartbeat.hpp"
#include "vsp/integration/key_value.hpp"
#include "vsp/integration/shutdown.hpp"
#include "vsp/integration/time_sync.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <sys/eventfd.h>
#include <utility>
#include <vector>

namespace {

using namespace croft;
using namespace croft::vsp::integration;
using vmbus::testing::GuestPacket;
using vmbus::testing::GuestReceiver;
using vmbus::testing::GuestRing;
using vmbus::testing::GuestSender;

void expect(bool holds) {
    if (!holds) {
        std::abort();
    }
}

class Pages final : public vmbus::GuestPages {
public:
    static constexpr std::size_t ring_pages = 5;
    [[nodiscard]] std::uint8_t* page(std::uint64_t page) const override {
        return page < pages_.size() ? pages_.at(page)->bytes.data() : nullptr;
    }
    Pages() {
        for (auto& page : pages_) {
            page = std::make_unique<Page>();
        }
    }

private:
    struct alignas(4096) Page {
        std::array<std::uint8_t, 4096> bytes{};
    };
    std::array<std::unique_ptr<Page>, 2 * ring_pages> pages_;
};

/// Calls back when it is told to.
class HandReactor final : public vmbus::Reactor {
public:
    void watch(int, short, std::function<void()> ready) override { ready_ = std::move(ready); }
    void unwatch(int) override { ready_ = nullptr; }
    void signal() {
        if (const auto ready = ready_) {
            ready();
        }
    }

private:
    std::function<void()> ready_;
};

class NoInterrupt final : public vmbus::Interrupt {
public:
    void signal() override {}
};

/// The bus, with the guest's driver behind it.
class Guest final : public vmbus::ChannelControl {
public:
    [[nodiscard]] const vmbus::GuestPages& memory() const override { return pages_; }
    void opened(std::uint16_t) override {}
    void open_refused(std::uint16_t, std::string_view) override { std::abort(); }
    void request_refused(std::uint16_t, std::string_view) override { std::abort(); }
    void closed(std::uint16_t) override {}
    void gpadl_created(std::uint16_t, std::uint32_t, bool) override {}
    void gpadl_torn_down(std::uint16_t, std::uint32_t) override {}
    void stopped() override {}
    void offer_sub_channels(std::uint16_t) override { std::abort(); }
    /// Once for each time that the channel was opened, by one line.
    void fail(std::uint16_t, std::string_view reason) override {
        expect(!reason.empty() && reason.find('\n') == std::string_view::npos);
        expect(!std::exchange(failed_, true));
    }
    [[nodiscard]] bool failed() const { return failed_; }

    void open(IntegrationService& service) {
        failed_ = false;
        vmbus::OpenChannel open;
        for (std::uint64_t page = 0; page < Pages::ring_pages; ++page) {
            open.incoming_pages.push_back(page);
            open.outgoing_pages.push_back(Pages::ring_pages + page);
        }
        open.event = vmbus::Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        open.interrupt = std::make_shared<NoInterrupt>();
        sender_.emplace(GuestRing(open.incoming_pages, pages_));
        receiver_.emplace(GuestRing(open.outgoing_pages, pages_));
        sender_->ring().initialize();
        receiver_->ring().initialize();
        service.open(0, std::move(open));
    }

    void send(std::span<const std::uint8_t> bytes, std::uint16_t type) {
        GuestPacket packet;
        packet.type = type;
        packet.payload.resize((bytes.size() + 7) / 8);
        std::ranges::copy(bytes, reinterpret_cast<std::uint8_t*>(packet.payload.data()));
        (void)sender_->send(packet);
    }
    /// The newest message of the host, whole.
    const std::vector<std::uint8_t>& heard() {
        while (const auto packet = receiver_->receive()) {
            heard_.resize(packet->payload.size() * 8);
            std::memcpy(heard_.data(), packet->payload.data(), heard_.size());
            (void)receiver_->commit();
        }
        return heard_;
    }
    GuestRing& ring() { return sender_->ring(); }

private:
    Pages pages_;
    std::optional<GuestSender> sender_;
    std::optional<GuestReceiver> receiver_;
    std::vector<std::uint8_t> heard_;
    bool failed_ = false;
};

/// The input, from its front.
class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}
    [[nodiscard]] bool empty() const { return rest_.empty(); }
    std::uint8_t byte() { return empty() ? 0 : take(1)[0]; }
    std::span<const std::uint8_t> take(std::size_t count) {
        const auto taken = rest_.first(std::min(count, rest_.size()));
        rest_ = rest_.subspan(taken.size());
        return taken;
    }

private:
    std::span<const std::uint8_t> rest_;
};

constexpr std::size_t headers = sizeof(vmbus::protocol::PipeHeader) + sizeof(message::Header);

/// An answer to what was heard last, as a driver makes it, but for the bytes that the input
/// changes.
std::vector<std::uint8_t> answer_to(std::vector<std::uint8_t> bytes, Input& input) {
    if (bytes.size() >= headers) {
        message::Header header;
        std::memcpy(&header, &bytes[sizeof(vmbus::protocol::PipeHeader)], sizeof(header));
        header.flags = message::flag_transaction | message::flag_response;
        if (header.type == 0) { // the first version of each that is offered
            const message::Negotiate one_each{1, 1, 0};
            message::Negotiate offered;
            std::memcpy(&offered, &bytes[headers], sizeof(offered));
            std::memcpy(&bytes[headers], &one_each, sizeof(one_each));
            std::memmove(&bytes[headers + 12], &bytes[headers + 8 + 4U * offered.framework_count],
                sizeof(message::Version));
        }
        std::memcpy(&bytes[sizeof(vmbus::protocol::PipeHeader)], &header, sizeof(header));
    }
    const unsigned changes = input.byte() % 8;
    for (unsigned i = 0; i < changes && !bytes.empty(); ++i) {
        const unsigned place = input.byte() | input.byte() << 8U;
        const auto content = input.take(input.byte() % 16);
        for (std::size_t at = 0; at < content.size(); ++at) {
            bytes[(place + at) % bytes.size()] = content[at];
        }
    }
    return bytes;
}

/// A component, and those who ask it for something.
class Component {
public:
    Component(unsigned kind, HandReactor& reactor, vdev::FakeTime& time) {
        switch (kind) {
        case 0:
            heartbeat_.emplace(reactor, time, time);
            break;
        case 1:
            key_value_.emplace(reactor, time, time);
            break;
        case 2:
            shutdown_.emplace(reactor);
            break;
        default:
            time_sync_.emplace(reactor, time, time, [] { return 7; });
        }
    }
    IntegrationService& service() {
        if (heartbeat_) {
            return *heartbeat_;
        }
        if (key_value_) {
            return *key_value_;
        }
        if (shutdown_) {
            return *shutdown_;
        }
        return *time_sync_;
    }
    void ask(std::uint8_t how) {
        if (shutdown_) {
            const auto asked = shutdown_->request(
                {static_cast<Shutdown::Action>(how % 3), how >= 128, std::string(how * 5U, 'x')},
                [this](std::uint32_t) { ++told_; });
            asked_ += asked == Shutdown::Asked::yes ? 1 : 0;
        }
    }
    void check() const {
        expect(told_ <= asked_);
        expect(asked_ <= told_ + 1); // one at a time is waited for
        if (key_value_) {
            expect(key_value_->items().size() <= KeyValue::most_items);
            for (const auto& [key, value] : key_value_->items()) {
                expect(key.size() <= 768 && value.size() <= 3072); // UTF-8 of 256 and 1024 units
            }
        }
    }
    void check_end() const { expect(told_ == asked_); }

private:
    std::optional<Heartbeat> heartbeat_;
    std::optional<KeyValue> key_value_;
    std::optional<Shutdown> shutdown_;
    std::optional<TimeSync> time_sync_;
    unsigned asked_ = 0;
    unsigned told_ = 0;
};

void step(
    Input& input, Guest& guest, HandReactor& reactor, vdev::FakeTime& time, Component& component) {
    IntegrationService& service = component.service();
    switch (input.byte() % 8) {
    case 0:
    case 1:
    case 2:
        guest.send(answer_to(guest.heard(), input), 6);
        reactor.signal();
        break;
    case 3: {
        const std::uint16_t type = input.byte() % 16;
        guest.send(input.take(input.byte()), type);
        reactor.signal();
        break;
    }
    case 4:
        time.advance(input.byte() * vdev::nanoseconds_per_second / 4);
        break;
    case 5:
        service.stop();
        time.advance(input.byte() * vdev::nanoseconds_per_second);
        service.start();
        break;
    case 6:
        if (input.byte() % 4 == 0) { // its own half of the ring
            guest.ring().store(input.byte() % 16, input.byte() << 8U | input.byte());
            reactor.signal();
        } else {
            service.close(0);
            guest.open(service);
        }
        break;
    default:
        component.ask(input.byte());
    }
    component.check();
    expect(!guest.failed() || !service.is_ready());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    Guest guest;
    HandReactor reactor;
    vdev::FakeTime time;
    Component component(input.byte() % 4, reactor, time);
    IntegrationService& service = component.service();
    service.attached(guest);
    service.start();
    guest.open(service);
    while (!input.empty()) {
        step(input, guest, reactor, time, component);
    }
    service.close(0);
    component.check_end();
    service.detached();
    return 0;
}
