// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/send_completer.hpp"

#include "vmbus/remote/event.hpp"
#include "vsp/network/channel.hpp"
#include "vsp/network/protocol/nvsp.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <utility>

namespace croft::vsp::network {

namespace {

using protocol::MessageType;
using vmbus::protocol::PacketType;

/// As a refusal looks to whoever has sent a message of `type`: Linux tells by the answer's type
/// what it has got, and wants it whole.
protocol::Message refusal_of(std::uint32_t type) {
    constexpr std::size_t start = 0;
    const auto answer = [](MessageType kind, std::size_t status_at) {
        const auto failure = static_cast<std::uint32_t>(protocol::Status::failure);
        protocol::Message message{static_cast<std::uint32_t>(kind), {}};
        std::memcpy(message.body.data() + status_at, &failure, sizeof(failure));
        return message;
    };
    switch (static_cast<MessageType>(type)) {
    case MessageType::init:
        return answer(MessageType::init_complete, offsetof(protocol::InitComplete, status));
    case MessageType::send_receive_buffer:
        return answer(MessageType::send_receive_buffer_complete, start);
    case MessageType::send_send_buffer:
        return answer(MessageType::send_send_buffer_complete, start);
    case MessageType::oid_query_ex:
        return answer(MessageType::oid_query_ex_complete, start);
    case MessageType::sub_channel:
        return answer(MessageType::sub_channel, start);
    default:
        return answer(MessageType::send_rndis_packet_complete, start);
    }
}

vmbus::OutgoingPacket completion_of(const vmbus::Packet& packet, const protocol::Message& message) {
    vmbus::OutgoingPacket completion;
    completion.type = PacketType::completion;
    completion.transaction_id = packet.transaction_id;
    completion.payload[0] = {reinterpret_cast<const std::uint8_t*>(&message), sizeof(message)};
    return completion;
}

constexpr std::uint32_t completion_bytes = sizeof(vmbus::protocol::PacketDescriptor) +
    sizeof(protocol::Message) + vmbus::protocol::packet_trailer_size;

} // namespace

SendCompleter::~SendCompleter() {
    stop();
    reactor_.unwatch(timer_.get());
}

void SendCompleter::wait_for_silence(std::function<void()> silent) {
    silent_ = std::move(silent);
    timer_ = vmbus::Descriptor(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (channels_.empty() || !timer_) {
        end_wait();
        return;
    }
    constexpr timespec silence{0, 500'000'000};
    const itimerspec setting{silence, silence};
    timerfd_settime(timer_.get(), 0, &setting, nullptr);
    heard_ = true;
    ticks_ = 0;
    reactor_.watch(timer_.get(), POLLIN, [this] {
        if (vmbus::remote::take_event(timer_.get()) && running_) {
            tick();
        }
    });
}

void SendCompleter::tick() {
    constexpr unsigned most_ticks = 10;
    const bool is_silent = !std::exchange(heard_, false) &&
        std::ranges::all_of(channels_, [](auto& entry) { return entry.second.rings.is_empty(); });
    if (is_silent || ++ticks_ == most_ticks) {
        end_wait();
    }
}

void SendCompleter::end_wait() {
    reactor_.unwatch(timer_.get());
    timer_ = vmbus::Descriptor();
    if (const auto silent = std::exchange(silent_, nullptr)) {
        silent();
    }
}

void SendCompleter::take_over(
    std::uint16_t sub_channel, vmbus::OpenChannel channel, vmbus::ChannelControl& control) {
    // Whoever has waited for it before may have had it block.
    (void)fcntl(channel.event.get(), F_SETFL, O_NONBLOCK);
    auto rings =
        vmbus::RingChannel::open(channel, control.memory(), network::Channel::largest_packet);
    if (!rings) {
        control.fail(sub_channel, name_of(rings.error()));
        return;
    }
    const Channel& taken =
        channels_.emplace(sub_channel, Channel{std::move(*rings), control}).first->second;
    if (running_) {
        listen(sub_channel, taken);
    }
}

void SendCompleter::close(std::uint16_t sub_channel) {
    const auto found = channels_.find(sub_channel);
    if (found != channels_.end()) {
        reactor_.unwatch(found->second.rings.event());
        channels_.erase(found);
    }
}

void SendCompleter::stop() {
    running_ = false;
    for (const auto& [sub_channel, channel] : channels_) {
        reactor_.unwatch(channel.rings.event());
    }
}

void SendCompleter::start() {
    running_ = true;
    for (const auto& [sub_channel, channel] : channels_) {
        listen(sub_channel, channel);
    }
}

void SendCompleter::listen(std::uint16_t sub_channel, const Channel& channel) {
    eventfd_write(channel.rings.event(), 1);
    reactor_.watch(channel.rings.event(), POLLIN, [this, sub_channel] { serve(sub_channel); });
}

void SendCompleter::serve(std::uint16_t sub_channel) {
    Channel& channel = channels_.at(sub_channel);
    channel.rings.clear_event();
    unsigned taken = 0;
    const auto complete = [&](const vmbus::Packet& packet) {
        heard_ = true;
        if (packet.completion_requested) {
            std::uint32_t type = 0;
            std::memcpy(
                &type, packet.payload.data(), std::min(packet.payload.size(), sizeof(type)));
            const protocol::Message message = refusal_of(type);
            (void)channel.rings.queue(completion_of(packet, message)); // there is room
        }
        return ++taken < most_taken;
    };
    const vmbus::RingResult<bool> empty = channel.rings.receive(complete, completion_bytes);
    if (!empty) {
        vmbus::ChannelControl& control = channel.control;
        close(sub_channel);
        control.fail(sub_channel, name_of(empty.error()));
    } else if (taken == most_taken) {
        eventfd_write(channel.rings.event(), 1);
    }
}

} // namespace croft::vsp::network
