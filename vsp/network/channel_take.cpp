// SPDX-License-Identifier: Apache-2.0
//
// What comes from the guest.
#include "vsp/network/channel.hpp"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <utility>

namespace croft::vsp::network {

using protocol::MessageType;
using vmbus::protocol::PacketType;

namespace {

/// Of a message with frames, as it is in a ring.
constexpr std::uint32_t frames_completion_bytes = sizeof(vmbus::protocol::PacketDescriptor) +
    sizeof(protocol::RndisPacketComplete) + vmbus::protocol::packet_trailer_size;

} // namespace

/// A message is taken only if its completion has room: if this process ends, what the ring tells as
/// taken is completed.
void Channel::take_packets() {
    if (!may_take()) {
        return;
    }
    unsigned taken = 0;
    const vmbus::RingResult<bool> empty = rings_.receive(
        [&](const vmbus::Packet& packet) {
            take(packet);
            return ++taken < most_taken && may_take();
        },
        frames_completion_bytes);
    if (!empty) {
        fail(name_of(empty.error()));
    } else {
        left_packets_ = !*empty;
    }
}

/// Whether it is we who have to come again for packets; not if the guest signals when there is room
/// for their completions.
bool Channel::may_go_on_taking() {
    if (!left_packets_) {
        return false;
    }
    const vmbus::RingResult<bool> room = rings_.has_room(frames_completion_bytes);
    if (!room) {
        fail(name_of(room.error()));
    }
    return room && *room;
}

void Channel::take(const vmbus::Packet& packet) {
    switch (packet.type) {
    case PacketType::completion:
        if (!receiver_.sections().complete(packet.transaction_id)) {
            fail(fmt::format("found the completion of transaction {:#x}, expected one of those "
                             "that are under way",
                packet.transaction_id));
        }
        return;
    case PacketType::in_band:
    case PacketType::gpa_direct:
        take_message(packet);
        return;
    case PacketType::transfer_pages:
        break;
    }
    fail(fmt::format("found a packet of type {}, expected data or a completion",
        static_cast<unsigned>(packet.type)));
}

void Channel::take_message(const vmbus::Packet& packet) {
    std::uint32_t type = 0;
    if (packet.payload.size() < sizeof(type)) {
        fail(fmt::format("found a message of {} bytes, expected {} at least", packet.payload.size(),
            sizeof(type)));
        return;
    }
    std::memcpy(&type, packet.payload.data(), sizeof(type));
    if (type == static_cast<std::uint32_t>(MessageType::send_rndis_packet)) {
        take_rndis(packet);
        return;
    }
    if (index_ != 0) {
        fail(fmt::format(
            "found a message of type {} on a sub-channel, expected RNDIS packets only", type));
        return;
    }
    Request request;
    request.kind = Request::Kind::nvsp;
    request.wants_completion = packet.completion_requested;
    request.transaction_id = packet.transaction_id;
    const auto bytes = packet.payload.first(std::min(packet.payload.size(), Request::longest));
    request.bytes.assign(bytes.begin(), bytes.end());
    ask(std::move(request));
}

/// Where a message of RNDIS is: a section of the send buffer, then the ranges of the packet.
Checked Channel::locate(const vmbus::Packet& packet, const protocol::SendRndisPacket& message) {
    segments_.clear();
    if (message.section != protocol::no_section) {
        const SharedBuffer* const buffer = settings_->send_buffer.get();
        if (buffer == nullptr || message.section >= buffer->section_count() ||
            message.section_bytes > buffer->section_size()) {
            return std::unexpected(
                fmt::format("found {} bytes in section {} of the send buffer, expected one of {} "
                            "sections of {} bytes",
                    message.section_bytes, message.section,
                    buffer != nullptr ? buffer->section_count() : 0,
                    buffer != nullptr ? buffer->section_size() : 0));
        }
        buffer->add(message.section, 0, message.section_bytes, segments_);
    }
    if (packet.type != PacketType::gpa_direct) {
        return {};
    }
    if (const auto parsed = vmbus::parse_gpa_direct(packet, ranges_); !parsed) {
        return std::unexpected(Reason(name_of(parsed.error())));
    }
    for (const vmbus::PageRange& range : ranges_) {
        if (!add_range(range, memory_, segments_)) {
            return std::unexpected(Reason("found data that isn't in the guest's memory, expected "
                                          "pages of it"));
        }
    }
    return {};
}

void Channel::take_rndis(const vmbus::Packet& packet) {
    protocol::SendRndisPacket message{};
    if (packet.payload.size() < sizeof(std::uint32_t) + sizeof(message)) {
        fail(fmt::format("found an RNDIS message's packet of {} bytes, expected {} at least",
            packet.payload.size(), sizeof(std::uint32_t) + sizeof(message)));
        return;
    }
    std::memcpy(&message, packet.payload.data() + sizeof(std::uint32_t), sizeof(message));
    Checked done = locate(packet, message);
    if (done) {
        done = message.channel == protocol::rndis_channel_data
            ? sender_.send(segments_, settings_->plugged)
            : take_control();
    }
    if (!done) {
        fail(done.error());
    } else if (packet.completion_requested) {
        complete(packet.transaction_id);
    }
}

Checked Channel::take_control() {
    if (index_ != 0 || settings_->receive_buffer == nullptr) {
        return std::unexpected(
            fmt::format("found an RNDIS request on channel {} {}, expected it on the primary one "
                        "with a receive buffer",
                index_, settings_->receive_buffer != nullptr ? "" : "without a receive buffer"));
    }
    Cursor cursor(segments_);
    if (cursor.left() > Request::longest) {
        return std::unexpected(
            fmt::format("found an RNDIS request of {} bytes, expected at most {}", cursor.left(),
                Request::longest));
    }
    Request request;
    request.kind = Request::Kind::rndis;
    request.bytes.resize(cursor.left());
    cursor.copy(request.bytes);
    ask(std::move(request));
    return {};
}

void Channel::ask(Request request) {
    if (asked_ + replies_.size() >= most_requests) {
        fail(fmt::format(
            "found {} requests whose answers it doesn't take, expected fewer", most_requests));
        return;
    }
    ++asked_;
    owner_.asked(index_, std::move(request));
}

/// There is room for it.
void Channel::complete(std::uint64_t transaction_id) {
    const protocol::RndisPacketComplete message{
        static_cast<std::uint32_t>(MessageType::send_rndis_packet_complete),
        static_cast<std::uint32_t>(protocol::Status::success)};
    vmbus::OutgoingPacket packet;
    packet.type = PacketType::completion;
    packet.transaction_id = transaction_id;
    packet.payload[0] = {reinterpret_cast<const std::uint8_t*>(&message), sizeof(message)};
    (void)queue_packet(packet);
}

} // namespace croft::vsp::network
