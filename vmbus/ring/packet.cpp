// SPDX-License-Identifier: Apache-2.0
#include "vmbus/ring/packet.hpp"

#include "vmbus/protocol/gpa_range.hpp"

#include <bit>

namespace croft::vmbus {

using protocol::GpaDirectHeader;
using protocol::GpaRangeHeader;
using protocol::PacketType;
using protocol::TransferPageRange;
using protocol::TransferPagesHeader;

RingResult<void> parse_gpa_direct(const Packet& packet, std::vector<PageRange>& ranges) {
    ranges.clear();
    std::span<const std::uint64_t> rest = packet.header;
    if (packet.type != PacketType::gpa_direct || rest.empty()) {
        return std::unexpected(RingError::bad_ranges);
    }
    const auto header = std::bit_cast<GpaDirectHeader>(rest.front());
    rest = rest.subspan(1);
    // Each range takes up a word at least, so the count can't make this grow.
    if (header.range_count > rest.size()) {
        return std::unexpected(RingError::bad_ranges);
    }
    for (std::uint32_t i = 0; i < header.range_count; ++i) {
        if (rest.empty()) {
            return std::unexpected(RingError::bad_ranges);
        }
        const auto range = std::bit_cast<GpaRangeHeader>(rest.front());
        rest = rest.subspan(1);
        const std::uint64_t pages = protocol::pages_of(range.byte_count, range.byte_offset);
        if (range.byte_offset >= protocol::page_size || pages > rest.size()) {
            return std::unexpected(RingError::bad_ranges);
        }
        ranges.push_back({range.byte_count, range.byte_offset, rest.first(pages)});
        rest = rest.subspan(pages);
    }
    return {};
}

RingResult<std::uint16_t> parse_transfer_pages(
    const Packet& packet, std::vector<TransferPageRange>& ranges) {
    ranges.clear();
    std::span<const std::uint64_t> rest = packet.header;
    if (packet.type != PacketType::transfer_pages || rest.empty()) {
        return std::unexpected(RingError::bad_ranges);
    }
    const auto header = std::bit_cast<TransferPagesHeader>(rest.front());
    rest = rest.subspan(1);
    if (header.range_count > rest.size()) {
        return std::unexpected(RingError::bad_ranges);
    }
    for (const std::uint64_t word : rest.first(header.range_count)) {
        ranges.push_back(std::bit_cast<TransferPageRange>(word));
    }
    return header.page_set;
}

} // namespace croft::vmbus
