// SPDX-License-Identifier: Apache-2.0
#include "vmbus/testing/echo_service.hpp"

#include <cstring>
#include <poll.h>

namespace croft::vmbus::testing {

EchoService::~EchoService() {
    for (const auto& [index, channel] : channels_) {
        reactor_.unwatch(channel.rings.event());
    }
}

void EchoService::answer(std::function<void()> answer) {
    if (hold_) {
        held_.push_back(std::move(answer));
    } else {
        answer();
    }
}

void EchoService::answer_held() {
    for (std::deque<std::function<void()>> held = std::move(held_); !held.empty();
         held.pop_front()) {
        held.front()();
    }
}

void EchoService::open(std::uint16_t sub_channel, OpenChannel channel) {
    was_restored_ = channel.restored;
    auto rings = RingChannel::open(channel, control_->memory(), largest_packet);
    if (!rings || refuse_opens_) {
        answer([this, sub_channel, why = rings ? "it was told to" : name_of(rings.error())] {
            control_->open_refused(sub_channel, why);
        });
        return;
    }
    channels_.emplace(sub_channel, std::move(*rings));
    answer([this, sub_channel] { control_->opened(sub_channel); });
    if (running_) {
        watch(sub_channel);
        serve(sub_channel);
    }
}

void EchoService::watch(std::uint16_t index) {
    const RingChannel& rings = channels_.at(index).rings;
    reactor_.watch(rings.event(), POLLIN, [this, index] {
        channels_.at(index).rings.clear_event();
        serve(index);
    });
}

void EchoService::close(std::uint16_t sub_channel) {
    const auto found = channels_.find(sub_channel);
    if (found != channels_.end()) {
        reactor_.unwatch(found->second.rings.event());
        channels_.erase(found);
    }
    answer([this, sub_channel] { control_->closed(sub_channel); });
}

void EchoService::create_gpadl(std::uint16_t sub_channel, Gpadl gpadl) {
    const std::uint32_t id = gpadl.id;
    const bool accepted = !refuse_gpadls_;
    if (accepted) {
        gpadls_.insert_or_assign({sub_channel, id}, std::move(gpadl));
    }
    answer(
        [this, sub_channel, id, accepted] { control_->gpadl_created(sub_channel, id, accepted); });
}

void EchoService::teardown_gpadl(std::uint16_t sub_channel, std::uint32_t id) {
    gpadls_.erase({sub_channel, id});
    answer([this, sub_channel, id] { control_->gpadl_torn_down(sub_channel, id); });
}

void EchoService::stop() {
    running_ = false;
    for (const auto& [index, channel] : channels_) {
        reactor_.unwatch(channel.rings.event());
    }
    answer([this] { control_->stopped(); });
}

void EchoService::start() {
    running_ = true;
    for (const auto& [index, channel] : channels_) {
        watch(index);
    }
    for (const auto& [index, channel] : channels_) {
        serve(index);
    }
}

void EchoService::serve(std::uint16_t index) {
    const auto found = channels_.find(index);
    if (found == channels_.end() || found->second.failed) {
        return;
    }
    if (const RingResult<bool> served = serve_rings(found->second); !served) {
        found->second.failed = true;
        control_->fail(index, name_of(served.error()));
    }
}

RingResult<bool> EchoService::serve_rings(OpenRings& open) {
    if (const RingResult<bool> sent = reply(open); !sent || !*sent) {
        return sent; // the guest signals when there is space
    }
    RingResult<bool> handled = true;
    const RingResult<bool> received = open.rings.receive([&](const Packet& packet) {
        handled = handle(open, packet);
        return handled && *handled;
    });
    open.rings.flush();
    return handled ? received : handled;
}

RingResult<bool> EchoService::reply(OpenRings& open) {
    if (!open.waiting) {
        return true;
    }
    OutgoingPacket packet;
    packet.type = protocol::PacketType::completion;
    packet.transaction_id = open.waiting->transaction_id;
    packet.payload[0] = open.waiting->payload;
    RingResult<bool> sent = open.rings.queue(packet);
    if (sent && *sent) {
        open.waiting.reset();
    }
    return sent;
}

RingResult<bool> EchoService::handle(OpenRings& open, const Packet& packet) {
    if (packet.type == protocol::PacketType::gpa_direct) {
        fill_ranges(packet);
    }
    std::uint64_t words[2] = {};
    if (packet.payload.size() == sizeof(words)) {
        std::memcpy(words, packet.payload.data(), sizeof(words));
        if (words[0] == offer_sub_channels) {
            control_->offer_sub_channels(static_cast<std::uint16_t>(words[1]));
        }
    }
    open.waiting = {packet.transaction_id, {packet.payload.begin(), packet.payload.end()}};
    return reply(open);
}

void EchoService::fill_ranges(const Packet& packet) {
    std::vector<PageRange> ranges;
    if (!parse_gpa_direct(packet, ranges)) {
        return;
    }
    for (const PageRange& range : ranges) {
        std::uint8_t* const page =
            range.byte_count != 0 ? control_->memory().page(range.pages.front()) : nullptr;
        if (page != nullptr) {
            __atomic_store_n(page + range.byte_offset, 0x5a, __ATOMIC_RELAXED);
        }
    }
}

} // namespace croft::vmbus::testing
