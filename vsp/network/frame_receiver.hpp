// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/protocol/packet.hpp"
#include "vsp/network/back_end.hpp"
#include "vsp/network/counters.hpp"
#include "vsp/network/data_settings.hpp"
#include "vsp/network/receive_sections.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace croft::vsp::network {

/// Takes frames from a queue into the receive buffer, each as an RNDIS message. The queue writes
/// them where the guest reads them; only their first bytes are looked at here. One thread at a
/// time.
class FrameReceiver {
public:
    /// Of the sections of a channel, so many at most are left for what isn't a frame.
    static constexpr std::uint32_t most_reserved = 16;

    /// What goes to the guest in one packet.
    struct Batch {
        std::vector<vmbus::protocol::TransferPageRange> ranges;
        std::vector<std::uint32_t> sections;
    };
    enum class Result : std::uint8_t {
        /// One was taken; it is in the batch, unless the guest doesn't want it.
        taken,
        /// There is none now.
        empty,
        /// There are no free sections.
        no_room,
        /// The queue takes and has no frames until it is plugged in again.
        broken,
    };

    FrameReceiver(Queue& queue, Counters& counters) : queue_(queue), traffic_(counters.received) {}

    /// From now on by these settings, and in these sections if the receive buffer isn't the same.
    void configure(std::shared_ptr<const DataSettings> settings, std::uint16_t channel);
    /// The channel's, for whoever else sends messages.
    [[nodiscard]] ReceiveSections& sections() { return sections_; }
    [[nodiscard]] const ReceiveSections& sections() const { return sections_; }

    /// The next frame. Only with a receive buffer.
    [[nodiscard]] Result receive(Batch& batch);
    /// Lets go of sections that were taken for frames to come.
    void release();

private:
    /// What a frame's parts have in common.
    struct Shape {
        std::size_t length = 0;
        bool has_tag = false;
        std::uint32_t tag = 0;
        std::uint32_t checksum = 0;
        std::size_t parts = 1;
    };

    [[nodiscard]] bool prepare();
    [[nodiscard]] bool hold(std::size_t count);
    [[nodiscard]] std::size_t room() const {
        return settings_->receive_buffer->section_size() - frame_offset;
    }
    [[nodiscard]] bool may_coalesce() const {
        return settings_->coalescing.ipv4 || settings_->coalescing.ipv6;
    }
    void take(std::size_t bytes, Batch& batch);
    [[nodiscard]] bool spread(std::size_t parts, std::size_t in_place, std::size_t body);
    [[nodiscard]] std::uint32_t complete_checksum(const Shape& shape) const;
    [[nodiscard]] std::uint32_t checked_protocol(const Shape& shape) const;
    void put_part(const Shape& shape, std::size_t part, std::size_t body, Batch& batch);

    Queue& queue_;
    Traffic<Counter>& traffic_;
    std::shared_ptr<const DataSettings> settings_;
    ReceiveSections sections_;
    std::uint32_t reserved_ = 0;
    /// Taken for the next frame.
    std::vector<std::uint32_t> held_;
    /// Of these the queue writes into so many itself.
    std::size_t in_place_ = 0;
    /// The last one was: then more sections are made ready.
    bool expects_large_ = false;
    std::uint16_t next_part_id_ = 0;

    struct Start {
        FrameHeader header{};
        std::array<std::uint8_t, first_bytes> bytes{};
    };
    static_assert(sizeof(Start) == sizeof(FrameHeader) + first_bytes);
    Start start_;
    /// Gets what doesn't fit.
    std::vector<std::uint8_t> spill_;
    std::vector<iovec> segments_;
    mutable std::vector<iovec> parts_;
};

} // namespace croft::vsp::network
