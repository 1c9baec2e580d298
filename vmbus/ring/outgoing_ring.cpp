// SPDX-License-Identifier: Apache-2.0
#include "vmbus/ring/outgoing_ring.hpp"

#include "vmbus/protocol/ring.hpp"

#include <limits>
#include <utility>

namespace croft::vmbus {

using protocol::PacketDescriptor;
using protocol::PacketType;
using protocol::TransferPagesHeader;

namespace {

template <typename T>
std::span<const std::uint8_t> bytes_of(const T& value) {
    return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)};
}

std::uint64_t header_size(const OutgoingPacket& packet) {
    return sizeof(PacketDescriptor) +
        (packet.type == PacketType::transfer_pages
                ? sizeof(TransferPagesHeader) + packet.ranges.size_bytes()
                : 0);
}

/// Without the trailer.
std::uint64_t packet_length(const OutgoingPacket& packet) {
    const std::uint64_t payload =
        std::uint64_t{packet.payload[0].size()} + packet.payload[1].size();
    return header_size(packet) + (payload + 7) / 8 * 8;
}

} // namespace

std::uint64_t OutgoingPacket::size() const {
    return packet_length(*this) + protocol::packet_trailer_size;
}

RingResult<OutgoingRing> OutgoingRing::attach(RingMemory memory) {
    const std::uint32_t read_index = memory.load(protocol::ring_read_index);
    const std::uint32_t write_index = memory.load(protocol::ring_write_index);
    if (!memory.is_index(read_index)) {
        return std::unexpected(RingError::bad_read_index);
    }
    if (!memory.is_index(write_index)) {
        return std::unexpected(RingError::bad_write_index);
    }
    memory.store(protocol::ring_pending_send_size, 0);
    memory.store(protocol::ring_feature_bits, protocol::ring_feature_pending_send_size);
    return OutgoingRing(std::move(memory), read_index, write_index);
}

OutgoingRing::OutgoingRing(RingMemory memory, std::uint32_t read_index, std::uint32_t write_index)
    : memory_(std::move(memory)),
      next_(write_index),
      committed_(write_index),
      read_(read_index) {}

std::uint32_t OutgoingRing::free() const {
    return memory_.size() - memory_.distance(read_, next_);
}

RingResult<bool> OutgoingRing::has_space(std::uint32_t bytes) {
    if (failed_) {
        return std::unexpected(RingError::bad_read_index);
    }
    // A ring filled to the last byte would look empty.
    if (free() > bytes) {
        return true;
    }
    const std::uint32_t read = memory_.load(protocol::ring_read_index);
    if (!memory_.is_index(read)) {
        failed_ = true;
        return std::unexpected(RingError::bad_read_index);
    }
    read_ = read;
    return free() > bytes;
}

bool OutgoingRing::is_empty() const {
    return memory_.load(protocol::ring_read_index) == next_;
}

void OutgoingRing::put(std::span<const std::uint8_t> bytes, std::uint32_t& offset) {
    memory_.write(offset, bytes);
    offset = memory_.advance(offset, static_cast<std::uint32_t>((bytes.size() + 7) / 8 * 8));
}

RingResult<bool> OutgoingRing::write(const OutgoingPacket& packet) {
    const std::uint64_t length = packet_length(packet);
    if (length / 8 > std::numeric_limits<std::uint16_t>::max() ||
        length + protocol::packet_trailer_size > capacity()) {
        return std::unexpected(RingError::packet_too_large);
    }
    const auto total = static_cast<std::uint32_t>(length + protocol::packet_trailer_size);
    const RingResult<bool> space = has_space(total);
    if (!space || !*space) {
        return space;
    }
    const std::uint64_t start = next_;
    std::uint32_t offset = next_;
    put(bytes_of(PacketDescriptor{static_cast<std::uint16_t>(packet.type),
            static_cast<std::uint16_t>(header_size(packet) / 8),
            static_cast<std::uint16_t>(length / 8),
            packet.completion_requested ? protocol::packet_flag_completion_requested
                                        : std::uint16_t{0},
            packet.transaction_id}),
        offset);
    if (packet.type == PacketType::transfer_pages) {
        put(bytes_of(TransferPagesHeader{
                packet.page_set, 0, 0, static_cast<std::uint32_t>(packet.ranges.size())}),
            offset);
        put({reinterpret_cast<const std::uint8_t*>(packet.ranges.data()),
                packet.ranges.size_bytes()},
            offset);
    }
    put(packet.payload[0], offset);
    put(packet.payload[1], offset);
    put(bytes_of(start << 32), offset);
    next_ = offset;
    return true;
}

bool OutgoingRing::commit() {
    if (failed_ || committed_ == next_) {
        return false;
    }
    const std::uint32_t before = std::exchange(committed_, next_);
    // The order of these three is the protocol: the guest unmasks and then looks at the write
    // index, so that one of us sees the other. A guest that has not read up to where we were has
    // been signalled and still reads.
    memory_.store(protocol::ring_write_index, next_);
    return memory_.load(protocol::ring_interrupt_mask) == 0 &&
        memory_.load(protocol::ring_read_index) == before;
}

RingResult<bool> OutgoingRing::wait_for_space(std::uint32_t bytes) {
    if (bytes > capacity()) {
        return std::unexpected(RingError::packet_too_large);
    }
    memory_.store(protocol::ring_pending_send_size, bytes);
    waiting_ = true;
    const RingResult<bool> space = has_space(bytes);
    if (space && *space) {
        stop_waiting();
    }
    return space;
}

void OutgoingRing::stop_waiting() {
    if (std::exchange(waiting_, false)) {
        memory_.store(protocol::ring_pending_send_size, 0);
    }
}

} // namespace croft::vmbus
