// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/ring/incoming_ring.hpp"
#include "vmbus/ring/outgoing_ring.hpp"
#include "vmbus/vsp/channel_service.hpp"

#include <cstdint>
#include <memory>
#include <utility>

namespace croft::vmbus {

/// The data path of an open channel: both rings and the signals that go with them. One thread at a
/// time. After an error the provider reports `ChannelControl::fail` and uses it no more.
class RingChannel {
public:
    /// Takes what it needs of `channel`; `memory` outlives it. `largest_packet` bounds what the
    /// guest sends, in bytes. Errors: those of the rings' attach.
    [[nodiscard]] static RingResult<RingChannel> open(
        OpenChannel& channel, const GuestPages& memory, std::uint32_t largest_packet);

    /// Readable when the guest has signalled.
    [[nodiscard]] int event() const { return event_.get(); }
    /// Takes the guest's signal, if there is one.
    void clear_event() const;

    /// Gives each packet to `handle(const Packet&)`, which answers whether it can take another, and
    /// gives their space back, in as few signals as possible. Answers true if the ring is empty:
    /// the guest will signal. False if `handle` wants no more: then call this again when it does.
    ///
    /// A packet is taken only while there is room for an answer of `answer` bytes
    /// (OutgoingPacket::size). What was queued by then is on the other ring before the space is
    /// given back: a packet that the ring's indices tell as read has its answer, if it got one at
    /// once, whatever becomes of the reader. Without room the answer is false too, and the guest
    /// signals when there is some (`has_room`).
    template <typename Handler>
    [[nodiscard]] RingResult<bool> receive(Handler&& handle, std::uint32_t answer = 0);

    /// Whether a packet of `bytes` (OutgoingPacket::size) can be queued. If not, the guest will
    /// signal when it can.
    [[nodiscard]] RingResult<bool> has_room(std::uint32_t bytes);

    /// Sends one packet, or answers false if there is no space: the guest will signal when there
    /// is.
    [[nodiscard]] RingResult<bool> send(const OutgoingPacket& packet);
    /// The same for the first of several, which the guest sees after `flush`.
    [[nodiscard]] RingResult<bool> queue(const OutgoingPacket& packet);
    void flush();

    /// Whether all that either side has written has been read by the other.
    [[nodiscard]] bool is_empty() { return incoming_.is_empty() && outgoing_.is_empty(); }

private:
    RingChannel(IncomingRing incoming, OutgoingRing outgoing, Descriptor event,
        std::shared_ptr<Interrupt> interrupt);

    template <typename Handler>
    [[nodiscard]] RingResult<bool> read_batch(Handler& handle, std::uint32_t answer);
    void give_back();
    void signal_if(bool needed);

    IncomingRing incoming_;
    OutgoingRing outgoing_;
    Descriptor event_;
    std::shared_ptr<Interrupt> interrupt_;
};

template <typename Handler>
RingResult<bool> RingChannel::read_batch(Handler& handle, std::uint32_t answer) {
    // Space is given back now and then even if the guest never lets the ring run empty.
    constexpr unsigned batch = 64;
    Packet packet;
    for (unsigned taken = 0;;) {
        if (answer != 0) {
            RingResult<bool> room = has_room(answer);
            if (!room || !*room) {
                return room;
            }
        }
        const RingResult<bool> found = incoming_.read(packet);
        if (!found || !*found) {
            return found ? RingResult<bool>(true) : std::unexpected(found.error());
        }
        if (!handle(std::as_const(packet))) {
            return false;
        }
        if (++taken % batch == 0) {
            give_back();
        }
    }
}

template <typename Handler>
RingResult<bool> RingChannel::receive(Handler&& handle, std::uint32_t answer) {
    incoming_.mask();
    for (;;) {
        const RingResult<bool> empty = read_batch(handle, answer);
        if (!empty) {
            return empty;
        }
        give_back();
        if (!*empty) {
            return false;
        }
        const RingResult<bool> more = incoming_.unmask();
        if (!more || !*more) {
            return more ? RingResult<bool>(true) : std::unexpected(more.error());
        }
        incoming_.mask();
    }
}

} // namespace croft::vmbus
