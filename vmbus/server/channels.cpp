// SPDX-License-Identifier: Apache-2.0
//
// Opening and closing of channels.
#include "vmbus/protocol/gpa_range.hpp"
#include "vmbus/server/entry.hpp"
#include "vmbus/server/offered_device.hpp"
#include "vmbus/server/server.hpp"

#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <utility>

namespace croft::vmbus {

using protocol::MessageType;

void Server::open_channel(std::span<const std::uint8_t> payload) {
    protocol::OpenChannel message;
    std::memcpy(&message, payload.data(), sizeof(message));
    Channel* const found = channel(message.relid, "an open");
    if (found == nullptr || found->rescinded) {
        return; // the guest learns of it by the rescind
    }
    const OpenParameters parameters{message.open_id, message.ring_gpadl, message.downstream_offset,
        message.target_vp, message.user_data};
    if (const std::string_view reason = why_not_open(*found, parameters); !reason.empty()) {
        report(fmt::format("refused to open channel {}: {}", message.relid, reason));
        answer_open(*found, parameters.open_id, protocol::status_unsuccessful);
        return;
    }
    ++owed_;
    if (found->state == Channel::State::closing) {
        found->reopen = parameters;
        return;
    }
    found->answer_due = true;
    start_open(*found, parameters);
}

std::string_view Server::why_not_open(const Channel& channel, const OpenParameters& parameters) {
    if (channel.state == Channel::State::opening || channel.state == Channel::State::open ||
        channel.reopen) {
        return "it is open";
    }
    if (parameters.target_vp != protocol::no_target_vp &&
        !host_.has_processor(parameters.target_vp)) {
        return "there is no such processor";
    }
    const GpadlEntry* const entry = gpadls_.find({channel.relid, parameters.ring_gpadl});
    if (entry == nullptr || entry->state != GpadlEntry::State::created || entry->end_wanted) {
        return "there is no such GPADL";
    }
    const GpadlRange& range = entry->gpadl.ranges.front();
    if (entry->gpadl.ranges.size() != 1 || range.byte_offset != 0 ||
        range.byte_count % protocol::page_size != 0) {
        return "its GPADL isn't whole pages";
    }
    // Each ring is a header and one page at least.
    if (parameters.downstream_offset < 2 || range.pages.size() < 4 ||
        parameters.downstream_offset > range.pages.size() - 2) {
        return "a ring has no page of data";
    }
    return {};
}

bool Server::connect_channel(Channel& channel) {
    channel.event = Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!channel.event ||
        !host_.connect_event(protocol::event_connection(channel.relid), channel.event.get())) {
        channel.event = Descriptor();
        return false;
    }
    const std::uint32_t vp = channel.parameters.target_vp;
    channel.interrupt =
        std::make_shared<ChannelInterrupt>(host_, static_cast<std::uint16_t>(channel.relid),
            vp == protocol::no_target_vp ? std::nullopt : std::optional(vp));
    return true;
}

void Server::start_open(Channel& channel, const OpenParameters& parameters) {
    channel.parameters = parameters;
    if (!connect_channel(channel)) {
        report(fmt::format(
            "refused to open channel {}: its signals can't be connected", channel.relid));
        opening_failed(channel);
        return;
    }
    channel.state = Channel::State::opening;
    channel.failed = false;
    const auto& pages =
        gpadls_.find({channel.relid, parameters.ring_gpadl})->gpadl.ranges.front().pages;
    const auto middle = pages.begin() + parameters.downstream_offset;
    OpenChannel open;
    open.version = version_;
    open.incoming_pages.assign(pages.begin(), middle);
    open.outgoing_pages.assign(middle, pages.end());
    open.user_data = parameters.user_data;
    open.target_vp = parameters.target_vp;
    open.restored = channel.restored;
    open.event = Descriptor(fcntl(channel.event.get(), F_DUPFD_CLOEXEC, 0));
    open.interrupt = channel.interrupt;
    channel.device->service->open(channel.index, std::move(open));
}

void Server::answer_open(const Channel& channel, std::uint32_t open_id, std::uint32_t status) {
    outbox_.put(
        protocol::OpenChannelResult{
            {static_cast<std::uint32_t>(MessageType::open_channel_result), 0}, channel.relid,
            open_id, status},
        true);
}

void Server::end_signals(Channel& channel) {
    if (channel.interrupt) {
        channel.interrupt->end();
        channel.interrupt.reset();
    }
    if (channel.event) {
        host_.disconnect_event(protocol::event_connection(channel.relid));
        channel.event = Descriptor();
    }
}

void Server::request_close(Channel& channel) {
    if (channel.reopen) {
        // Counted until the connection ends, as all answers are.
        owed_ -= connection_ == Connection::connected ? 1U : 0U;
        channel.reopen.reset();
    }
    if (channel.state == Channel::State::opening) {
        channel.close_wanted = true;
    } else if (channel.state == Channel::State::open) {
        channel.state = Channel::State::closing;
        end_signals(channel);
        channel.device->service->close(channel.index);
    }
}

void Server::opening_failed(Channel& channel) {
    channel.state = Channel::State::closed;
    channel.close_wanted = false;
    end_signals(channel);
    if (std::exchange(channel.answer_due, false)) {
        --owed_;
        answer_open(channel, channel.parameters.open_id, protocol::status_unsuccessful);
    }
    if (std::exchange(channel.restored, false)) {
        // The guest takes it for open.
        rescind(channel);
    }
    end_if_unused({channel.relid, channel.parameters.ring_gpadl});
}

/// The channel that a service answers for; null if nobody has asked.
Channel* Server::opening(OfferedDevice& device, std::uint16_t index) {
    Channel* const found = device.in_use(index);
    if (found == nullptr || found->state != Channel::State::opening) {
        report("a service has opened a channel that it wasn't asked to");
        return nullptr;
    }
    return found;
}

void Server::open_refused(OfferedDevice& device, std::uint16_t index, std::string_view reason) {
    if (Channel* const found = opening(device, index)) {
        const Entry entry(*this);
        report_end(device, fmt::format("refused to open channel {}: {}", found->relid, reason));
        opening_failed(*found);
    }
}

void Server::opened(OfferedDevice& device, std::uint16_t index) {
    Channel* const found = opening(device, index);
    if (found == nullptr) {
        return;
    }
    const Entry entry(*this);
    found->state = Channel::State::open;
    if (std::exchange(found->answer_due, false)) {
        --owed_;
        answer_open(*found, found->parameters.open_id, protocol::status_success);
    }
    if (std::exchange(found->close_wanted, false)) {
        request_close(*found);
    }
}

void Server::closed(OfferedDevice& device, std::uint16_t index) {
    Channel* const found = device.in_use(index);
    if (found == nullptr || found->state != Channel::State::closing) {
        report("a service has closed a channel that it wasn't asked to");
        return;
    }
    const Entry entry(*this);
    found->state = Channel::State::closed;
    found->restored = false;
    if (index == 0) {
        rescind_sub_channels(device);
    }
    if (found->reopen) {
        const OpenParameters parameters = *std::exchange(found->reopen, std::nullopt);
        found->answer_due = true;
        start_open(*found, parameters);
        return;
    }
    end_if_unused({found->relid, found->parameters.ring_gpadl});
}

void Server::request_refused(OfferedDevice& device, std::uint16_t index, std::string_view reason) {
    const Channel* const found = device.in_use(index);
    if (found != nullptr && found->state != Channel::State::closed) {
        report(fmt::format("refused a request on channel {}: {}", found->relid, reason));
    }
}

void Server::fail(OfferedDevice& device, std::uint16_t index, std::string_view reason) {
    Channel* const found = device.in_use(index);
    if (found == nullptr || found->state == Channel::State::closed) {
        return; // it has been closed meanwhile
    }
    const Entry entry(*this);
    if (!std::exchange(found->failed, true)) {
        report_end(device, fmt::format("channel {} has ended: {}", found->relid, reason));
        end_signals(*found);
    }
}

} // namespace croft::vmbus
