// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/protocol/packet.hpp"
#include "vmbus/ring/ring_error.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace croft::vmbus {

/// A packet that was taken from a ring: a private copy, so it stays as it was checked. What it
/// points to is the reader's and stands until its next read.
struct Packet {
    protocol::PacketType type = protocol::PacketType::in_band;
    /// The sender waits for a completion with the same transaction id.
    bool completion_requested = false;
    std::uint64_t transaction_id = 0;
    /// Between descriptor and payload, as multiples of 8 bytes: the ranges of gpa_direct and
    /// transfer_pages.
    std::span<const std::uint64_t> header;
    /// Up to 7 bytes longer than what the sender meant: lengths are in units of 8.
    std::span<const std::uint8_t> payload;
};

/// A range of guest memory that a packet names. The pages may be none of the guest's: whoever
/// resolves them finds out.
struct PageRange {
    std::uint32_t byte_count = 0;
    /// In the first page; less than a page.
    std::uint32_t byte_offset = 0;
    std::span<const std::uint64_t> pages;
};

/// What a packet of type gpa_direct names; the page numbers are in the packet's copy. `ranges` is
/// reused to save allocations. Errors: bad_ranges.
[[nodiscard]] RingResult<void> parse_gpa_direct(
    const Packet& packet, std::vector<PageRange>& ranges);

/// What a packet of type transfer_pages names, and in which set. Errors: bad_ranges.
[[nodiscard]] RingResult<std::uint16_t> parse_transfer_pages(
    const Packet& packet, std::vector<protocol::TransferPageRange>& ranges);

} // namespace croft::vmbus
