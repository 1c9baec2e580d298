// SPDX-License-Identifier: Apache-2.0
#include "vmbus/ring/incoming_ring.hpp"

#include "vmbus/protocol/ring.hpp"

#include <array>
#include <bit>
#include <utility>

namespace croft::vmbus {

using protocol::PacketDescriptor;

RingResult<IncomingRing> IncomingRing::attach(RingMemory memory, std::uint32_t largest_packet) {
    const std::uint32_t read_index = memory.load(protocol::ring_read_index);
    if (!memory.is_index(read_index)) {
        return std::unexpected(RingError::bad_read_index);
    }
    if (!memory.is_index(memory.load(protocol::ring_write_index))) {
        return std::unexpected(RingError::bad_write_index);
    }
    IncomingRing ring(std::move(memory), largest_packet, read_index);
    ring.mask();
    return ring;
}

IncomingRing::IncomingRing(
    RingMemory memory, std::uint32_t largest_packet, std::uint32_t read_index)
    : memory_(std::move(memory)),
      largest_packet_(largest_packet),
      next_(read_index),
      committed_(read_index),
      written_(read_index) {}

std::unexpected<RingError> IncomingRing::fail(RingError error) {
    failed_ = true;
    error_ = error;
    return std::unexpected(error);
}

RingResult<std::uint32_t> IncomingRing::available() {
    if (failed_) {
        return std::unexpected(error_);
    }
    if (written_ == next_) {
        const std::uint32_t written = memory_.load(protocol::ring_write_index);
        if (!memory_.is_index(written)) {
            return fail(RingError::bad_write_index);
        }
        written_ = written;
    }
    return memory_.distance(next_, written_);
}

bool IncomingRing::is_empty() {
    return available() == 0U;
}

RingResult<PacketDescriptor> IncomingRing::read_descriptor(std::uint32_t available) {
    if (available < sizeof(PacketDescriptor) + protocol::packet_trailer_size) {
        return fail(RingError::packet_cut_off);
    }
    std::array<std::uint64_t, 2> words{};
    memory_.read(next_, words);
    const auto descriptor = std::bit_cast<PacketDescriptor>(words);
    const std::uint32_t length = descriptor.length8 * 8U;
    if (descriptor.offset8 * 8U < sizeof(PacketDescriptor) ||
        descriptor.offset8 > descriptor.length8) {
        return fail(RingError::bad_descriptor);
    }
    if (length + protocol::packet_trailer_size > available) {
        return fail(RingError::packet_cut_off);
    }
    if (length > largest_packet_) {
        return fail(RingError::packet_too_large);
    }
    if ((descriptor.flags & ~protocol::packet_flag_completion_requested) != 0) {
        return fail(RingError::bad_flags);
    }
    return descriptor;
}

RingResult<bool> IncomingRing::read(Packet& packet) {
    const RingResult<std::uint32_t> bytes = available();
    if (!bytes) {
        return std::unexpected(bytes.error());
    }
    if (*bytes == 0) {
        return false;
    }
    const RingResult<PacketDescriptor> descriptor = read_descriptor(*bytes);
    if (!descriptor) {
        return std::unexpected(descriptor.error());
    }
    // The descriptor isn't read again: what the guest makes of it meanwhile doesn't count.
    constexpr std::uint32_t descriptor_size = sizeof(PacketDescriptor);
    const std::uint32_t length = descriptor->length8 * 8U;
    buffer_.resize((length - descriptor_size) / sizeof(std::uint64_t));
    memory_.read(memory_.advance(next_, descriptor_size), buffer_);
    const std::size_t header_words = descriptor->offset8 - descriptor_size / 8U;
    const std::span<const std::uint64_t> words(buffer_);
    const std::span<const std::uint64_t> payload = words.subspan(header_words);
    packet.type = static_cast<protocol::PacketType>(descriptor->type);
    packet.completion_requested =
        (descriptor->flags & protocol::packet_flag_completion_requested) != 0;
    packet.transaction_id = descriptor->transaction_id;
    packet.header = words.first(header_words);
    packet.payload = {reinterpret_cast<const std::uint8_t*>(payload.data()), payload.size_bytes()};
    next_ = memory_.advance(next_, length + protocol::packet_trailer_size);
    return true;
}

bool IncomingRing::commit() {
    if (failed_ || committed_ == next_) {
        return false;
    }
    const std::uint32_t given_back = memory_.distance(committed_, next_);
    committed_ = next_;
    // The order of these three is the protocol (Linux, hv_pkt_iter_close): the guest sets the
    // pending size and then looks at the read index, so that one of us sees the other.
    memory_.store(protocol::ring_read_index, next_);
    const std::uint32_t pending = memory_.load(protocol::ring_pending_send_size);
    if (pending == 0 ||
        (memory_.load(protocol::ring_feature_bits) & protocol::ring_feature_pending_send_size) ==
            0) {
        return false;
    }
    const std::uint32_t written = memory_.load(protocol::ring_write_index);
    if (!memory_.is_index(written)) {
        return false; // the next read will say so
    }
    // Only when this made the difference. A ring filled to the last byte would look empty, so what
    // is wanted must be less than what is free.
    const std::uint32_t free = memory_.size() - memory_.distance(next_, written);
    return free > pending && (free < given_back || free - given_back <= pending);
}

void IncomingRing::mask() {
    memory_.store(protocol::ring_interrupt_mask, 1);
}

RingResult<bool> IncomingRing::unmask() {
    if (failed_) {
        return std::unexpected(error_);
    }
    memory_.store(protocol::ring_interrupt_mask, 0);
    const RingResult<std::uint32_t> bytes = available();
    if (!bytes) {
        return std::unexpected(bytes.error());
    }
    return *bytes != 0;
}

} // namespace croft::vmbus
