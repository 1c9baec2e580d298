// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// Ethernet frames, and what goes in front of them between provider and back end.
namespace croft::vsp::network {

/// What is said about a frame: whether its checksum is still to be computed, and how it is to be
/// cut up if it is larger than the medium takes (virtio 1.2, "5.1.6 Device Operation", struct
/// virtio_net_hdr).
struct FrameHeader {
    std::uint8_t flags = 0;        // frame_…
    std::uint8_t segmentation = 0; // segments_…
    /// Of all headers, in each segment.
    std::uint16_t header_size = 0;
    std::uint16_t segment_size = 0;
    /// From where on the sum is, and where in that it goes.
    std::uint16_t checksum_start = 0;
    std::uint16_t checksum_offset = 0;
};
static_assert(sizeof(FrameHeader) == 10);

/// The checksum's place holds the sum of the pseudo-header; the rest is to be added.
constexpr std::uint8_t frame_needs_checksum = 1;
/// The checksum was right.
constexpr std::uint8_t frame_data_valid = 2;

constexpr std::uint8_t segments_none = 0;
constexpr std::uint8_t segments_tcp_ipv4 = 1;
constexpr std::uint8_t segments_tcp_ipv6 = 4;
/// The first segment says that it has reduced its congestion window.
constexpr std::uint8_t segments_ecn = 0x80;

constexpr std::size_t ethernet_header_size = 14;
constexpr std::size_t ethernet_addresses_size = 12;
constexpr std::size_t vlan_tag_size = 4;
constexpr std::uint16_t ethertype_vlan = 0x8100;
constexpr std::uint16_t ethertype_ipv4 = 0x0800;
constexpr std::uint16_t ethertype_ipv6 = 0x86dd;

constexpr std::size_t ipv4_header_size = 20;
constexpr std::size_t ipv6_header_size = 40;
constexpr std::size_t tcp_header_size = 20;
/// Where in a header its checksum is.
constexpr std::size_t ipv4_checksum_offset = 10;
constexpr std::uint16_t tcp_checksum_offset = 16;
constexpr std::uint16_t udp_checksum_offset = 6;
constexpr std::uint8_t protocol_tcp = 6;
constexpr std::uint8_t protocol_udp = 17;

/// The largest that IP allows, to be cut up, with a VLAN's tag.
constexpr std::size_t largest_frame = 65535 + ethernet_header_size + vlan_tag_size;

constexpr std::uint32_t smallest_mtu = 68;
constexpr std::uint32_t default_mtu = 1500;
constexpr std::uint32_t largest_mtu = 65521;

/// Numbers in frames are big endian.
[[nodiscard]] inline std::uint16_t load_big_16(const std::uint8_t* place) {
    return static_cast<std::uint16_t>(place[0] << 8 | place[1]);
}
inline void store_big_16(std::uint8_t* place, std::uint16_t value) {
    place[0] = static_cast<std::uint8_t>(value >> 8);
    place[1] = static_cast<std::uint8_t>(value);
}

} // namespace croft::vsp::network
