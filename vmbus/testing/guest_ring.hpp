// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/guest_pages.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

// The guest's half of a ring, for tests: it decides when to signal as Linux does
// (drivers/hv/ring_buffer.c), and shares no code with the host's half.
namespace croft::vmbus::testing {

/// A packet as it is in a ring, in whole words.
struct GuestPacket {
    std::uint16_t type = 6;
    std::uint16_t flags = 0;
    std::uint64_t transaction_id = 0;
    std::vector<std::uint64_t> header;
    std::vector<std::uint64_t> payload;

    friend bool operator==(const GuestPacket&, const GuestPacket&) = default;
};

/// A ring's pages as the guest has them, one after the other.
class GuestRing {
public:
    GuestRing(std::span<const std::uint64_t> pages, const GuestPages& memory);

    /// As before OPENCHANNEL: empty, and with flow control.
    void initialize();

    [[nodiscard]] std::uint32_t size() const {
        return static_cast<std::uint32_t>(data_.size()) * 4096;
    }
    [[nodiscard]] std::uint32_t load(std::size_t field) const;
    void store(std::size_t field, std::uint32_t value);
    [[nodiscard]] std::uint64_t word(std::uint32_t offset) const;
    void set_word(std::uint32_t offset, std::uint64_t value);

private:
    std::uint8_t* header_;
    std::vector<std::uint8_t*> data_;
};

/// hv_ringbuffer_write
class GuestSender {
public:
    explicit GuestSender(GuestRing ring) : ring_(std::move(ring)) {}

    enum class Sent { full, quiet, signal };
    /// Sends one packet, and says whether the host is to be signalled.
    [[nodiscard]] Sent send(const GuestPacket& packet);
    /// set_channel_pending_send_size: asks for a signal when more than `bytes` are free; answers
    /// whether they are already.
    [[nodiscard]] bool wait_for(std::uint32_t bytes);
    void stop_waiting() { ring_.store(12, 0); }

    [[nodiscard]] static std::uint32_t size_of(const GuestPacket& packet);
    [[nodiscard]] GuestRing& ring() { return ring_; }

private:
    [[nodiscard]] std::uint32_t free() const;

    GuestRing ring_;
};

/// hv_pkt_iter_first and its like
class GuestReceiver {
public:
    explicit GuestReceiver(GuestRing ring) : ring_(std::move(ring)) {}

    /// hv_begin_read and hv_end_read; the latter answers whether there is more to read.
    void mask() { ring_.store(8, 1); }
    [[nodiscard]] bool unmask();
    [[nodiscard]] std::optional<GuestPacket> receive();
    /// hv_pkt_iter_close: gives the space back, and says whether the host is to be signalled.
    [[nodiscard]] bool commit();

    [[nodiscard]] GuestRing& ring() { return ring_; }

private:
    GuestRing ring_;
    std::uint32_t next_ = 0;
};

} // namespace croft::vmbus::testing
