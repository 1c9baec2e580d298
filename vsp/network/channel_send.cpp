// SPDX-License-Identifier: Apache-2.0
//
// What goes to the guest.
#include "vsp/network/channel.hpp"

#include "vsp/network/protocol/rndis.hpp"

#include <array>
#include <cstring>
#include <utility>

namespace croft::vsp::network {

using protocol::MessageType;
using vmbus::protocol::PacketType;
using vmbus::protocol::TransferPageRange;

namespace {

template <typename T>
std::span<const std::uint8_t> view_of(const T& value) {
    return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)};
}

} // namespace

void Channel::frames_ready() {
    if (running_) {
        receive_frames();
        flush();
    }
}

void Channel::receive_frames() {
    if (!receives() || queue_is_broken_ || readiness_.is_waiting() || !send_batch()) {
        return;
    }
    for (unsigned taken = 0; taken < most_taken; ++taken) {
        switch (receiver_.receive(batch_)) {
        case FrameReceiver::Result::taken:
            if (batch_.ranges.size() >= largest_batch / 2 && !send_batch()) {
                return;
            }
            continue;
        case FrameReceiver::Result::empty:
            readiness_.wait();
            break;
        case FrameReceiver::Result::no_room:
            break; // the guest's next completion makes some
        case FrameReceiver::Result::broken:
            queue_is_broken_ = true;
            break;
        }
        (void)send_batch();
        return;
    }
    left_frames_ = send_batch();
}

/// False if it has to wait for space, for which the guest will signal.
bool Channel::send_batch() {
    if (batch_.ranges.empty()) {
        return !failed_;
    }
    if (!batch_transaction_) {
        batch_transaction_ = receiver_.sections().begin(batch_.sections);
    }
    if (!send_sections(*batch_transaction_, batch_.ranges, protocol::rndis_channel_data)) {
        return false;
    }
    batch_.ranges.clear();
    batch_.sections.clear();
    batch_transaction_.reset();
    return true;
}

/// Networks lose frames.
void Channel::drop_batch() {
    if (batch_transaction_) {
        receiver_.sections().cancel(*batch_transaction_);
    } else {
        for (const std::uint32_t section : batch_.sections) {
            receiver_.sections().give_back(section);
        }
    }
    batch_.ranges.clear();
    batch_.sections.clear();
    batch_transaction_.reset();
}

/// False if it has to wait for space in the ring. What waits for a section goes when there is one.
bool Channel::send_waiting() {
    return send_replies() && send_link() && send_batch();
}

bool Channel::send_replies() {
    while (!replies_.empty()) {
        const Reply& reply = replies_.front();
        if (reply.kind == Reply::Kind::rndis && receiver_.sections().free_count() == 0) {
            return true;
        }
        if (!send_reply(reply)) {
            return false;
        }
        replies_.pop_front();
    }
    return true;
}

bool Channel::send_reply(const Reply& reply) {
    if (reply.kind == Reply::Kind::rndis) {
        return send_control(reply.bytes);
    }
    vmbus::OutgoingPacket packet;
    packet.type =
        reply.kind == Reply::Kind::completion ? PacketType::completion : PacketType::in_band;
    packet.transaction_id = reply.transaction_id;
    packet.payload[0] = reply.bytes;
    return queue_packet(packet);
}

/// There is a free section.
bool Channel::send_control(std::span<const std::uint8_t> message) {
    ReceiveSections& sections = receiver_.sections();
    const SharedBuffer& buffer = *settings_->receive_buffer;
    const std::uint32_t section = sections.take();
    buffer.write(section, 0, message);
    const std::uint64_t transaction = sections.begin({&section, 1});
    const TransferPageRange range{
        static_cast<std::uint32_t>(message.size()), section * buffer.section_size()};
    if (!send_sections(transaction, {&range, 1}, protocol::rndis_channel_control)) {
        sections.cancel(transaction);
        return false;
    }
    return true;
}

bool Channel::send_link() {
    if (!link_ || !replies_.empty() || settings_->receive_buffer == nullptr ||
        receiver_.sections().free_count() == 0) {
        return true;
    }
    const protocol::RndisHeader header{
        static_cast<std::uint32_t>(protocol::RndisType::indicate_status),
        sizeof(protocol::RndisHeader) + sizeof(protocol::IndicateStatus)};
    const protocol::IndicateStatus status{
        *link_ ? protocol::rndis_media_connect : protocol::rndis_media_disconnect, 0, 0};
    std::array<std::uint8_t, sizeof(header) + sizeof(status)> message{};
    std::memcpy(message.data(), &header, sizeof(header));
    std::memcpy(message.data() + sizeof(header), &status, sizeof(status));
    if (!send_control(message)) {
        return false;
    }
    link_.reset();
    return true;
}

bool Channel::send_sections(std::uint64_t transaction, std::span<const TransferPageRange> ranges,
    std::uint32_t rndis_channel) {
    const protocol::RndisPacketMessage message{
        static_cast<std::uint32_t>(MessageType::send_rndis_packet),
        {rndis_channel, protocol::no_section, 0}};
    vmbus::OutgoingPacket packet;
    packet.type = PacketType::transfer_pages;
    packet.completion_requested = true;
    packet.transaction_id = transaction;
    packet.page_set = protocol::receive_buffer_id;
    packet.ranges = ranges;
    packet.payload[0] = view_of(message);
    return queue_packet(packet);
}

/// False if there is no space, or the channel has failed.
bool Channel::queue_packet(const vmbus::OutgoingPacket& packet) {
    if (failed_) {
        return false;
    }
    const vmbus::RingResult<bool> queued = rings_.queue(packet);
    if (!queued) {
        fail(name_of(queued.error()));
    }
    return queued && *queued;
}

} // namespace croft::vsp::network
