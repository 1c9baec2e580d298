// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/protocol/gpa_range.hpp"

#include <cstdint>

// What is in a ring: packets, each with a descriptor in front and a trailer of 8 bytes behind
// (Linux, include/linux/hyperv.h, struct vmpacket_descriptor and what follows it).
namespace croft::vmbus::protocol {

enum class PacketType : std::uint16_t {
    in_band = 6,
    transfer_pages = 7,
    gpa_direct = 9,
    completion = 11,
};

constexpr std::uint16_t packet_flag_completion_requested = 1;

struct PacketDescriptor {
    std::uint16_t type; // PacketType
    /// From the descriptor's start to the payload, and to the packet's end without its trailer; in
    /// units of 8 bytes.
    std::uint16_t offset8;
    std::uint16_t length8;
    std::uint16_t flags;
    std::uint64_t transaction_id;
};
static_assert(sizeof(PacketDescriptor) == 16);

/// In the upper half of the trailer is the write index at which the packet begins.
constexpr std::uint32_t packet_trailer_size = 8;

/// Behind the descriptor of PacketType::gpa_direct; then that many ranges, each a GpaRangeHeader
/// with its page numbers. "Page buffers" are ranges of one page, "multi-page buffers" of several.
struct GpaDirectHeader {
    std::uint32_t reserved;
    std::uint32_t range_count;
};
static_assert(sizeof(GpaDirectHeader) == 8);

/// Behind the descriptor of PacketType::transfer_pages; then that many ranges.
struct TransferPagesHeader {
    /// Names a buffer that both sides know, as of the network's receive buffer.
    std::uint16_t page_set;
    std::uint8_t sender_owns_set;
    std::uint8_t reserved;
    std::uint32_t range_count;
};
static_assert(sizeof(TransferPagesHeader) == 8);

/// A part of that buffer.
struct TransferPageRange {
    std::uint32_t byte_count;
    std::uint32_t byte_offset;
};
static_assert(sizeof(TransferPageRange) == 8);

// Channels in pipe mode have one more header in front of each payload (struct vmbuspipe_hdr).

enum class PipePacketType : std::uint32_t { data = 1, partial = 2 };

struct PipeHeader {
    std::uint32_t type; // PipePacketType
    /// Bytes that follow.
    std::uint32_t size;
};
static_assert(sizeof(PipeHeader) == 8);

constexpr std::uint32_t pipe_largest_data = 16384;

} // namespace croft::vmbus::protocol
