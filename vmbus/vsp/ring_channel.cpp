// SPDX-License-Identifier: Apache-2.0
#include "vmbus/vsp/ring_channel.hpp"

#include <unistd.h>

namespace croft::vmbus {

RingResult<RingChannel> RingChannel::open(
    OpenChannel& channel, const GuestPages& memory, std::uint32_t largest_packet) {
    RingResult<RingMemory> in = RingMemory::map(channel.incoming_pages, memory);
    RingResult<RingMemory> out = RingMemory::map(channel.outgoing_pages, memory);
    if (!in || !out) {
        return std::unexpected(!in ? in.error() : out.error());
    }
    RingResult<IncomingRing> incoming = IncomingRing::attach(std::move(*in), largest_packet);
    if (!incoming) {
        return std::unexpected(incoming.error());
    }
    RingResult<OutgoingRing> outgoing = OutgoingRing::attach(std::move(*out));
    if (!outgoing) {
        return std::unexpected(outgoing.error());
    }
    return RingChannel(std::move(*incoming), std::move(*outgoing), std::move(channel.event),
        std::move(channel.interrupt));
}

RingChannel::RingChannel(IncomingRing incoming, OutgoingRing outgoing, Descriptor event,
    std::shared_ptr<Interrupt> interrupt)
    : incoming_(std::move(incoming)),
      outgoing_(std::move(outgoing)),
      event_(std::move(event)),
      interrupt_(std::move(interrupt)) {}

void RingChannel::clear_event() const {
    std::uint64_t count = 0;
    // There is nothing to do if nobody has signalled.
    (void)!::read(event_.get(), &count, sizeof(count));
}

void RingChannel::signal_if(bool needed) {
    if (needed) {
        interrupt_->signal();
    }
}

RingResult<bool> RingChannel::has_room(std::uint32_t bytes) {
    RingResult<bool> space = outgoing_.has_space(bytes);
    if (!space || *space) {
        return space;
    }
    // What is in the ring must be visible, or the guest would never make space.
    flush();
    return outgoing_.wait_for_space(bytes);
}

RingResult<bool> RingChannel::queue(const OutgoingPacket& packet) {
    for (;;) {
        RingResult<bool> written = outgoing_.write(packet);
        if (!written) {
            return written;
        }
        if (*written) {
            outgoing_.stop_waiting();
            return true;
        }
        const RingResult<bool> space = has_room(static_cast<std::uint32_t>(packet.size()));
        if (!space || !*space) {
            return space;
        }
    }
}

/// Nothing comes between the two: whoever ends in that moment leaves answers to packets that count
/// as unread.
void RingChannel::give_back() {
    const bool shown = outgoing_.commit();
    const bool freed = incoming_.commit();
    signal_if(shown || freed);
}

void RingChannel::flush() {
    signal_if(outgoing_.commit());
}

RingResult<bool> RingChannel::send(const OutgoingPacket& packet) {
    RingResult<bool> queued = queue(packet);
    flush();
    return queued;
}

} // namespace croft::vmbus
