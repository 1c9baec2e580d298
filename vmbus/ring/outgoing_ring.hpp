// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/protocol/packet.hpp"
#include "vmbus/ring/ring_error.hpp"
#include "vmbus/ring/ring_memory.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace croft::vmbus {

/// What to send. The spans are read by `write` and not kept.
struct OutgoingPacket {
    protocol::PacketType type = protocol::PacketType::in_band;
    bool completion_requested = false;
    std::uint64_t transaction_id = 0;
    /// For transfer_pages: the set, and the parts of it.
    std::uint16_t page_set = 0;
    std::span<const protocol::TransferPageRange> ranges;
    /// The payload, in two parts for those who have a header of their own in front of the data. The
    /// first part's size is a multiple of 8 if there is a second.
    std::array<std::span<const std::uint8_t>, 2> payload;

    /// Bytes that it takes up in a ring.
    [[nodiscard]] std::uint64_t size() const;
};

/// The ring that we write and the guest reads. One thread at a time.
///
/// Packets are written, several if there are several, and then committed; after a commit the guest
/// is signalled if that says so. A writer without space waits by `wait_for_space`, and the guest
/// signals when it has made enough.
class OutgoingRing {
public:
    /// Takes over the ring where its header says it stands. Errors: bad_read_index,
    /// bad_write_index.
    [[nodiscard]] static RingResult<OutgoingRing> attach(RingMemory memory);

    /// Puts a packet behind those written before. Answers false if there is no space now. Errors:
    /// packet_too_large if there never will be; an index error repeats itself on every later call.
    [[nodiscard]] RingResult<bool> write(const OutgoingPacket& packet);

    /// Whether the guest has read all that was written.
    [[nodiscard]] bool is_empty() const;

    /// Shows the guest what was written. Answers whether it has to be signalled.
    [[nodiscard]] bool commit();

    /// Whether a packet of `bytes` (OutgoingPacket::size) fits now. Errors: bad_read_index.
    [[nodiscard]] RingResult<bool> has_space(std::uint32_t bytes);
    /// Asks for a signal when a packet of `bytes` (OutgoingPacket::size) fits. All that was written
    /// must have been committed. Answers true if it fits already; then no signal was asked for.
    [[nodiscard]] RingResult<bool> wait_for_space(std::uint32_t bytes);
    /// No longer wants it; for who has written since.
    void stop_waiting();

    /// The largest packet that ever fits, in bytes.
    [[nodiscard]] std::uint32_t capacity() const {
        return memory_.size() - protocol::packet_trailer_size;
    }

private:
    OutgoingRing(RingMemory memory, std::uint32_t read_index, std::uint32_t write_index);
    [[nodiscard]] std::uint32_t free() const;
    void put(std::span<const std::uint8_t> bytes, std::uint32_t& offset);

    RingMemory memory_;
    /// Ours alone: what the guest writes into the header's write index means nothing.
    std::uint32_t next_;
    std::uint32_t committed_;
    /// The last read index seen: looked up again only when that leaves too little space.
    std::uint32_t read_;
    bool waiting_ = false;
    bool failed_ = false;
};

} // namespace croft::vmbus
