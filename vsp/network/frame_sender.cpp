// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/frame_sender.hpp"

#include "vsp/network/checksum.hpp"
#include "vsp/network/data_settings.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <utility>

namespace croft::vsp::network {

using protocol::PacketInfo;
using protocol::RndisHeader;
using protocol::RndisPacket;

namespace {

template <typename... Arguments>
std::unexpected<Reason> wrong(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    return std::unexpected(fmt::format(format, std::forward<Arguments>(arguments)...));
}

} // namespace

Checked FrameSender::send(std::span<const iovec> message, bool plugged) {
    Cursor cursor(message);
    if (cursor.left() == 0) {
        return wrong("found an RNDIS message without a byte, expected a packet");
    }
    for (unsigned packets = 0; cursor.left() != 0; ++packets) {
        if (packets == most_packets_taken) {
            return wrong("found more than {} packets in a message, expected at most {}",
                most_packets_taken, most_packets);
        }
        const auto header = send_packet(cursor, plugged);
        if (!header) {
            return std::unexpected(header.error());
        }
        cursor.skip(header->length);
    }
    return {};
}

std::expected<RndisHeader, Reason> FrameSender::send_packet(const Cursor& message, bool plugged) {
    std::array<std::uint8_t, sizeof(RndisHeader) + sizeof(RndisPacket)> bytes{};
    if (message.left() < bytes.size()) {
        return wrong("found an RNDIS message that ends after {} bytes, expected a packet's {}",
            message.left(), bytes.size());
    }
    Cursor(message).copy(bytes);
    RndisHeader header{};
    RndisPacket packet{};
    std::memcpy(&header, bytes.data(), sizeof(header));
    std::memcpy(&packet, bytes.data() + sizeof(header), sizeof(packet));
    if (header.type != static_cast<std::uint32_t>(protocol::RndisType::packet)) {
        return wrong(
            "found an RNDIS message of type {:#x} with data, expected packets only", header.type);
    }
    if (header.length < bytes.size() || header.length > message.left()) {
        return wrong("found an RNDIS packet of {} bytes where there are {}, expected {} at least",
            header.length, message.left(), bytes.size());
    }
    const std::uint32_t body = header.length - std::uint32_t{sizeof(header)};
    if (packet.data_offset > body || packet.data_length > body - packet.data_offset) {
        return wrong("found a frame of {} bytes at {} in an RNDIS packet of {}, expected it inside",
            packet.data_length, packet.data_offset, body);
    }
    if (packet.data_length < ethernet_header_size || packet.data_length > largest_frame) {
        return wrong("found a frame of {} bytes, expected {} to {}", packet.data_length,
            ethernet_header_size, largest_frame);
    }
    const auto info = read_info(message, header, packet);
    if (!info) {
        return std::unexpected(info.error());
    }
    Cursor data = message;
    data.skip(sizeof(header) + packet.data_offset);
    header_ = {};
    length_ = packet.data_length;
    head_size_ = 0;
    if (Checked ready = prepare(data, *info); !ready) {
        return std::unexpected(ready.error());
    }
    if (Checked sent = send_frame(data, info->vlan, plugged); !sent) {
        return std::unexpected(sent.error());
    }
    return header;
}

std::expected<FrameSender::Info, Reason> FrameSender::read_info(
    Cursor message, const RndisHeader& header, const RndisPacket& packet) {
    Info found;
    if (packet.info_length == 0) {
        return found;
    }
    const std::uint32_t body = header.length - std::uint32_t{sizeof(header)};
    if (packet.info_length > info_.size() || packet.info_offset > body ||
        packet.info_length > body - packet.info_offset) {
        return wrong("found per-packet information of {} bytes at {} in an RNDIS packet of {}, "
                     "expected at most {} inside",
            packet.info_length, packet.info_offset, body, info_.size());
    }
    std::span<std::uint8_t> rest = std::span(info_).first(packet.info_length);
    message.skip(sizeof(header) + packet.info_offset);
    message.copy(rest);
    while (!rest.empty()) {
        PacketInfo piece{};
        if (rest.size() < sizeof(piece)) {
            return wrong("found {} bytes behind the last per-packet information, expected none",
                rest.size());
        }
        std::memcpy(&piece, rest.data(), sizeof(piece));
        std::uint32_t value = 0;
        if (piece.size < sizeof(piece) || piece.size > rest.size()) {
            return wrong("found a piece of per-packet information of {} bytes, expected {} to {}",
                piece.size, sizeof(piece), rest.size());
        }
        const bool is_known = piece.type == protocol::info_checksum ||
            piece.type == protocol::info_large_send || piece.type == protocol::info_vlan;
        if (is_known) {
            if (piece.offset > piece.size || piece.size - piece.offset < sizeof(value)) {
                return wrong("found a value at {} in a piece of per-packet information of {} "
                             "bytes, expected it inside",
                    piece.offset, piece.size);
            }
            std::memcpy(&value, rest.data() + piece.offset, sizeof(value));
            (piece.type == protocol::info_checksum            ? found.checksum
                    : piece.type == protocol::info_large_send ? found.large_send
                                                              : found.vlan) = value;
        }
        rest = rest.subspan(piece.size);
    }
    return found;
}

void FrameSender::copy_head(Cursor& data, std::size_t size) {
    data.copy(std::span(head_).first(size));
    head_size_ = size;
}

Checked FrameSender::prepare(Cursor& data, const Info& info) {
    if (info.large_send) {
        return prepare_large_send(data, *info.large_send);
    }
    if (info.checksum) {
        return prepare_checksum(data, *info.checksum);
    }
    copy_head(data, ethernet_addresses_size);
    return {};
}

Checked FrameSender::prepare_checksum(Cursor& data, std::uint32_t value) {
    const std::uint32_t offset =
        value >> protocol::send_tcp_offset_shift & protocol::send_tcp_offset_mask;
    const bool is_ip = (value & (protocol::send_is_ipv4 | protocol::send_is_ipv6)) != 0;
    const bool is_tcp = (value & protocol::send_tcp_checksum) != 0;
    if ((value & protocol::send_is_ipv4) != 0 && (value & protocol::send_ip_checksum) != 0) {
        if (Checked ready = prepare_ip_checksum(data); !ready) {
            return ready;
        }
    } else {
        copy_head(data, ethernet_addresses_size);
    }
    if (!is_ip || (!is_tcp && (value & protocol::send_udp_checksum) == 0)) {
        return {};
    }
    const std::uint16_t field = is_tcp ? tcp_checksum_offset : udp_checksum_offset;
    if (offset < ethernet_header_size + ipv4_header_size ||
        offset + field + sizeof(std::uint16_t) > length_) {
        return wrong("found a header for a checksum at {} in a frame of {} bytes, expected it "
                     "behind IP's and inside",
            offset, length_);
    }
    header_.flags = frame_needs_checksum;
    header_.checksum_start = static_cast<std::uint16_t>(offset);
    header_.checksum_offset = field;
    return {};
}

/// Linux computes this one itself; others leave it to us.
Checked FrameSender::prepare_ip_checksum(Cursor& data) {
    constexpr std::size_t most = ethernet_header_size + 60;
    copy_head(data, std::min(most, length_));
    const std::span<std::uint8_t> ip =
        std::span(head_).first(head_size_).subspan(ethernet_header_size);
    const std::size_t size = ip.empty() ? 0 : std::size_t{ip[0] & 0xfU} * 4;
    if (size < ipv4_header_size || size > ip.size()) {
        return wrong("found an IPv4 header of {} bytes in a frame of {}, expected {} at least",
            size, length_, ipv4_header_size);
    }
    store_big_16(&ip[ipv4_checksum_offset], 0);
    Checksum checksum;
    checksum.add(ip.first(size));
    store_big_16(&ip[ipv4_checksum_offset], checksum.result());
    return {};
}

/// The guest leaves lengths and checksums open, which differ from segment to segment. Whoever cuts
/// the frame up, or takes it whole, wants those of the whole.
Checked FrameSender::prepare_large_send(Cursor& data, std::uint32_t value) {
    const std::size_t offset =
        value >> protocol::large_send_tcp_offset_shift & protocol::large_send_tcp_offset_mask;
    const std::uint32_t mss = value & protocol::large_send_mss_mask;
    if ((value & protocol::large_send_version_2) == 0 || mss == 0 || mss > 0xffff) {
        return wrong("found a large send by {:#x}, expected version 2 and a segment of 1 to 65535 "
                     "bytes",
            value);
    }
    if (offset < ethernet_header_size + ipv4_header_size ||
        offset + tcp_header_size > std::min(length_, head_.size())) {
        return wrong("found a TCP header at {} in a frame of {} bytes, expected it behind IP's and "
                     "inside",
            offset, length_);
    }
    copy_head(data, offset + tcp_header_size);
    const bool is_ipv6 = (value & protocol::large_send_ipv6) != 0;
    if (Checked ready = is_ipv6 ? complete_ipv6(offset) : complete_ipv4(offset); !ready) {
        return ready;
    }
    const std::size_t header_size = (head_[offset + 12] >> 4U) * std::size_t{4};
    if (header_size < tcp_header_size || offset + header_size > length_) {
        return wrong("found a TCP header of {} bytes at {} in a frame of {}, expected {} at least "
                     "and inside",
            header_size, offset, length_, tcp_header_size);
    }
    constexpr std::uint8_t congestion_window_reduced = 0x80;
    header_.flags = frame_needs_checksum;
    header_.segmentation = is_ipv6 ? segments_tcp_ipv6 : segments_tcp_ipv4;
    if ((head_[offset + 13] & congestion_window_reduced) != 0) {
        header_.segmentation |= segments_ecn;
    }
    header_.header_size = static_cast<std::uint16_t>(offset + header_size);
    header_.segment_size = static_cast<std::uint16_t>(mss);
    header_.checksum_start = static_cast<std::uint16_t>(offset);
    header_.checksum_offset = tcp_checksum_offset;
    return {};
}

Checked FrameSender::complete_ipv4(std::size_t tcp_offset) {
    const std::span<std::uint8_t> ip =
        std::span(head_).subspan(ethernet_header_size, tcp_offset - ethernet_header_size);
    const std::size_t size = length_ - ethernet_header_size;
    if (ip[0] >> 4U != 4 || std::size_t{ip[0] & 0xfU} * 4 != ip.size() || size > 0xffff) {
        return wrong("found a large send of {} bytes with {:#x} where an IPv4 header begins, "
                     "expected one of {} bytes",
            length_, ip[0], ip.size());
    }
    store_big_16(&ip[2], static_cast<std::uint16_t>(size));
    store_big_16(&ip[ipv4_checksum_offset], 0);
    Checksum checksum;
    checksum.add(ip);
    store_big_16(&ip[ipv4_checksum_offset], checksum.result());
    Checksum pseudo;
    pseudo.add(ip.subspan(12, 8));
    pseudo.add_number(protocol_tcp);
    pseudo.add_number(static_cast<std::uint32_t>(length_ - tcp_offset));
    store_big_16(&head_[tcp_offset + tcp_checksum_offset], pseudo.partial());
    return {};
}

Checked FrameSender::complete_ipv6(std::size_t tcp_offset) {
    const std::size_t headers = ethernet_header_size + ipv6_header_size;
    if (tcp_offset < headers || head_[ethernet_header_size] >> 4U != 6 ||
        length_ - headers > 0xffff) {
        return wrong("found a large send of {} bytes with {:#x} where an IPv6 header begins, "
                     "expected one of {} bytes",
            length_, head_[ethernet_header_size], ipv6_header_size);
    }
    const std::span<std::uint8_t> ip =
        std::span(head_).subspan(ethernet_header_size, ipv6_header_size);
    store_big_16(&ip[4], static_cast<std::uint16_t>(length_ - headers));
    Checksum pseudo;
    pseudo.add(ip.subspan(8, 32));
    pseudo.add_number(protocol_tcp);
    pseudo.add_number(static_cast<std::uint32_t>(length_ - tcp_offset));
    store_big_16(&head_[tcp_offset + tcp_checksum_offset], pseudo.partial());
    return {};
}

Checked FrameSender::send_frame(Cursor& data, std::optional<std::uint32_t> vlan, bool plugged) {
    segments_.clear();
    segments_.push_back({&header_, sizeof(header_)});
    if (vlan) {
        const std::uint32_t tag = (*vlan & 7U) << 13U |
            (*vlan >> protocol::vlan_cfi_shift & 1U) << 12U |
            (*vlan >> protocol::vlan_id_shift & 0xfffU);
        store_big_16(tag_.data(), ethertype_vlan);
        store_big_16(&tag_[2], static_cast<std::uint16_t>(tag));
        if (header_.flags != 0) {
            header_.checksum_start += vlan_tag_size;
        }
        if (header_.segmentation != segments_none) {
            header_.header_size += vlan_tag_size;
        }
        segments_.push_back({head_.data(), ethernet_addresses_size});
        segments_.push_back({tag_.data(), tag_.size()});
        if (head_size_ != ethernet_addresses_size) {
            segments_.push_back(
                {head_.data() + ethernet_addresses_size, head_size_ - ethernet_addresses_size});
        }
    } else {
        segments_.push_back({head_.data(), head_size_});
    }
    data.take(length_ - head_size_, segments_);
    if (segments_.size() > most_segments) {
        return wrong(
            "found a frame of {} pieces, expected at most {}", segments_.size(), most_segments);
    }
    count(plugged ? queue_.send(segments_) : -ENETDOWN);
    return {};
}

void FrameSender::count(int result) {
    if (result < 0) {
        (result == -EAGAIN || result == -ENOBUFS ? traffic_.no_buffer : traffic_.errors).add(1);
        return;
    }
    MacAddress destination;
    std::copy_n(head_.begin(), destination.bytes.size(), destination.bytes.begin());
    const auto cast = static_cast<std::size_t>(cast_of(destination));
    traffic_.frames.at(cast).add(1);
    traffic_.bytes.at(cast).add(length_);
}

} // namespace croft::vsp::network
