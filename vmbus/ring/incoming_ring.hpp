// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/ring/packet.hpp"
#include "vmbus/ring/ring_error.hpp"
#include "vmbus/ring/ring_memory.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace croft::vmbus {

/// The ring that the guest writes and we read. One thread at a time.
///
/// A reader that was signalled masks, reads until there is nothing more, commits, unmasks, and
/// begins again if there is something after all. The guest signals only when it writes into an
/// empty ring that isn't masked (Linux, drivers/hv/ring_buffer.c, hv_signal_on_write): a reader
/// that stops before the ring is empty has to come back of its own accord.
class IncomingRing {
public:
    /// Takes over the ring where its header says it stands; masks it. Packets larger than
    /// `largest_packet` bytes are an error, so that a guest can't make us grow. Errors:
    /// bad_read_index, bad_write_index.
    [[nodiscard]] static RingResult<IncomingRing> attach(
        RingMemory memory, std::uint32_t largest_packet);

    /// The next packet, or none (`false`) if all that was written has been read. The packet is in
    /// this ring's buffer. An error repeats itself on every later call.
    [[nodiscard]] RingResult<bool> read(Packet& packet);

    /// Whether all that the guest has written so far has been read.
    [[nodiscard]] bool is_empty();

    /// Gives the space of what was read back to the guest. Answers whether the guest waits for just
    /// that and has to be signalled.
    [[nodiscard]] bool commit();

    /// From now on the guest needn't signal.
    void mask();
    /// From now on it has to. Answers whether there is something to read already, for which no
    /// signal may come.
    [[nodiscard]] RingResult<bool> unmask();

private:
    IncomingRing(RingMemory memory, std::uint32_t largest_packet, std::uint32_t read_index);
    [[nodiscard]] RingResult<std::uint32_t> available();
    [[nodiscard]] RingResult<protocol::PacketDescriptor> read_descriptor(std::uint32_t available);
    [[nodiscard]] std::unexpected<RingError> fail(RingError error);

    RingMemory memory_;
    std::uint32_t largest_packet_;
    /// Ours alone: what the guest writes into the header's read index means nothing.
    std::uint32_t next_;
    std::uint32_t committed_;
    /// The last write index seen: looked up again only when all up to it is read.
    std::uint32_t written_;
    std::vector<std::uint64_t> buffer_;
    bool failed_ = false;
    RingError error_ = RingError::bad_size;
};

} // namespace croft::vmbus
