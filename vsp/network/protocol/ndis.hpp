// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

// Objects that a driver asks for and sets (OIDs), and what they look like (NDIS; Linux,
// include/linux/rndis.h, RNDIS_OID_…, and drivers/net/hyperv/hyperv_net.h, struct ndis_…).
namespace croft::vsp::network::protocol {

enum class Oid : std::uint32_t {
    supported_list = 0x00010101,
    hardware_status = 0x00010102,
    media_supported = 0x00010103,
    media_in_use = 0x00010104,
    maximum_lookahead = 0x00010105,
    maximum_frame_size = 0x00010106,
    link_speed = 0x00010107,
    transmit_buffer_space = 0x00010108,
    receive_buffer_space = 0x00010109,
    transmit_block_size = 0x0001010a,
    receive_block_size = 0x0001010b,
    vendor_id = 0x0001010c,
    vendor_description = 0x0001010d,
    current_packet_filter = 0x0001010e,
    current_lookahead = 0x0001010f,
    driver_version = 0x00010110,
    maximum_total_size = 0x00010111,
    protocol_options = 0x00010112,
    mac_options = 0x00010113,
    media_connect_status = 0x00010114,
    maximum_send_packets = 0x00010115,
    vendor_driver_version = 0x00010116,
    network_layer_addresses = 0x00010118,
    receive_scale_capabilities = 0x00010203,
    receive_scale_parameters = 0x00010204,
    max_link_speed = 0x00010206,
    link_state = 0x00010207,
    config_parameter = 0x0001021b,
    // Statistics
    xmit_ok = 0x00020101,
    rcv_ok = 0x00020102,
    xmit_error = 0x00020103,
    rcv_error = 0x00020104,
    rcv_no_buffer = 0x00020105,
    directed_bytes_xmit = 0x00020201,
    directed_frames_xmit = 0x00020202,
    multicast_bytes_xmit = 0x00020203,
    multicast_frames_xmit = 0x00020204,
    broadcast_bytes_xmit = 0x00020205,
    broadcast_frames_xmit = 0x00020206,
    directed_bytes_rcv = 0x00020207,
    directed_frames_rcv = 0x00020208,
    multicast_bytes_rcv = 0x00020209,
    multicast_frames_rcv = 0x0002020a,
    broadcast_bytes_rcv = 0x0002020b,
    broadcast_frames_rcv = 0x0002020c,
    friendly_name = 0x00020216,
    bytes_rcv = 0x00020219,
    bytes_xmit = 0x0002021a,
    // Ethernet
    permanent_address = 0x01010101,
    current_address = 0x01010102,
    multicast_list = 0x01010103,
    maximum_list_size = 0x01010104,
    rcv_error_alignment = 0x01020101,
    xmit_one_collision = 0x01020102,
    xmit_more_collisions = 0x01020103,
    // Offloads
    offload_encapsulation = 0x0101010a,
    offload_current_config = 0xfc01020b,
    offload_parameters = 0xfc01020c,
    offload_hardware_capabilities = 0xfc01020d,
};

// Which frames a guest wants (NDIS_PACKET_TYPE_…).
constexpr std::uint32_t filter_directed = 0x01;
constexpr std::uint32_t filter_multicast = 0x02;
constexpr std::uint32_t filter_all_multicast = 0x04;
constexpr std::uint32_t filter_broadcast = 0x08;
constexpr std::uint32_t filter_promiscuous = 0x20;

constexpr std::uint32_t media_connected = 0;
constexpr std::uint32_t media_disconnected = 1;

struct ObjectHeader {
    std::uint8_t type; // object_…
    std::uint8_t revision;
    std::uint16_t size;
};
static_assert(sizeof(ObjectHeader) == 4);
constexpr std::uint8_t object_default = 0x80;
constexpr std::uint8_t object_rss_capabilities = 0x88;
constexpr std::uint8_t object_rss_parameters = 0x89;
constexpr std::uint8_t object_offload = 0xa7;
constexpr std::uint8_t object_offload_encapsulation = 0xa8;

constexpr std::uint32_t encapsulation_802_3 = 2;

// Checksums that can be computed and checked; the same bits for IPv4 and IPv6 (NDIS_TXCSUM_CAP_…).
constexpr std::uint32_t checksum_ip_options = 0x001;
constexpr std::uint32_t checksum_tcp_options = 0x004;
constexpr std::uint32_t checksum_tcp = 0x010;
constexpr std::uint32_t checksum_udp = 0x040;
constexpr std::uint32_t checksum_ip = 0x100;
// And of large sends by IPv6 (NDIS_LSOV2_CAP_…).
constexpr std::uint32_t large_send_options = 0x001 | 0x004;

/// struct ndis_offload, up to its size in each revision.
struct Offload {
    ObjectHeader header;
    std::uint32_t ipv4_send_encapsulation;
    std::uint32_t ipv4_send_checksums;
    std::uint32_t ipv4_receive_encapsulation;
    std::uint32_t ipv4_receive_checksums;
    std::uint32_t ipv6_send_encapsulation;
    std::uint32_t ipv6_send_checksums;
    std::uint32_t ipv6_receive_encapsulation;
    std::uint32_t ipv6_receive_checksums;
    std::array<std::uint32_t, 4> large_send_1;
    std::array<std::uint32_t, 7> ipsec_1;
    std::uint32_t large_send_ipv4_encapsulation;
    std::uint32_t large_send_ipv4_size;
    std::uint32_t large_send_ipv4_segments;
    std::uint32_t large_send_ipv6_encapsulation;
    std::uint32_t large_send_ipv6_size;
    std::uint32_t large_send_ipv6_segments;
    std::uint32_t large_send_ipv6_options;
    std::uint32_t flags;
    // From revision 2
    std::array<std::uint32_t, 8> ipsec_2;
    // From revision 3
    std::uint8_t rsc_ipv4;
    std::uint8_t rsc_ipv6;
    std::uint16_t reserved;
    std::array<std::uint32_t, 2> encapsulated;
};
constexpr std::size_t offload_size_1 = offsetof(Offload, ipsec_2);
constexpr std::size_t offload_size_2 = offsetof(Offload, rsc_ipv4);
constexpr std::size_t offload_size_3 = sizeof(Offload);
static_assert(offload_size_1 == 112 && offload_size_2 == 144 && offload_size_3 == 156);

/// NDIS_OFFLOAD_PARAMETERS_…: how one kind of offload is to be from now on.
constexpr std::uint8_t offload_no_change = 0;
constexpr std::uint8_t offload_disabled = 1;
/// Of large sends and RSC.
constexpr std::uint8_t offload_enabled = 2;

/// struct ndis_offload_params
struct OffloadParameters {
    ObjectHeader header;
    std::uint8_t ipv4_checksum;
    std::uint8_t tcp_ipv4_checksum;
    std::uint8_t udp_ipv4_checksum;
    std::uint8_t tcp_ipv6_checksum;
    std::uint8_t udp_ipv6_checksum;
    std::uint8_t large_send_1;
    std::uint8_t ipsec_1;
    std::uint8_t large_send_ipv4;
    std::uint8_t large_send_ipv6;
    std::uint8_t tcp_connection_ipv4;
    std::uint8_t tcp_connection_ipv6;
    std::uint8_t reserved;
    std::uint32_t flags;
    // From revision 3
    std::uint8_t ipsec_2;
    std::uint8_t ipsec_2_ipv4;
    std::uint8_t rsc_ipv4;
    std::uint8_t rsc_ipv6;
    std::uint8_t encapsulated;
    std::uint8_t encapsulated_types;
};
/// What all revisions have.
constexpr std::size_t offload_parameters_smallest =
    offsetof(OffloadParameters, tcp_connection_ipv4);

struct OffloadEncapsulation {
    ObjectHeader header;
    std::uint32_t ipv4_enabled;
    std::uint32_t ipv4_type;
    std::uint32_t ipv4_header_size;
    std::uint32_t ipv6_enabled;
    std::uint32_t ipv6_type;
    std::uint32_t ipv6_header_size;
};
static_assert(sizeof(OffloadEncapsulation) == 28);

// Hashes over a packet's addresses: the function, and what of (NDIS_HASH_…).
constexpr std::uint32_t hash_function_mask = 0xff;
constexpr std::uint32_t hash_toeplitz = 0x01;
constexpr std::uint32_t hash_ipv4 = 0x100;
constexpr std::uint32_t hash_tcp_ipv4 = 0x200;
constexpr std::uint32_t hash_ipv6 = 0x400;
constexpr std::uint32_t hash_tcp_ipv6 = 0x1000;
// The same as a capability (NDIS_RSS_CAPS_…).
constexpr std::uint32_t hash_capability_tcp_ipv4 = 0x100;
constexpr std::uint32_t hash_capability_tcp_ipv6 = 0x200;

/// struct ndis_recv_scale_cap, 18 bytes long.
struct ReceiveScaleCapabilities {
    ObjectHeader header;
    std::uint32_t flags;
    std::uint32_t interrupt_messages;
    std::uint32_t receive_queues;
    std::uint16_t table_entries;
    std::uint16_t padding;
};
constexpr std::size_t receive_scale_capabilities_size = 18;

constexpr std::uint16_t receive_scale_table_unchanged = 0x0004;
constexpr std::uint16_t receive_scale_key_unchanged = 0x0008;
constexpr std::uint16_t receive_scale_disabled = 0x0010;
constexpr std::size_t receive_scale_table_entries = 128;
constexpr std::size_t receive_scale_key_size = 40;

/// struct ndis_recv_scale_param, as much of it as counts; offsets are from its start.
struct ReceiveScaleParameters {
    ObjectHeader header;
    std::uint16_t flags; // receive_scale_…
    std::uint16_t base_processor;
    std::uint32_t hash;
    /// In bytes, of entries of 32 bits.
    std::uint16_t table_size;
    std::uint16_t padding;
    std::uint32_t table_offset;
    std::uint16_t key_size;
    std::uint16_t padding_too;
    std::uint32_t key_offset;
};
static_assert(sizeof(ReceiveScaleParameters) == 28);

/// struct rndis_config_parameter_info; text is UTF-16, offsets are from its start.
struct ConfigParameter {
    std::uint32_t name_offset;
    std::uint32_t name_length;
    std::uint32_t type;
    std::uint32_t value_offset;
    std::uint32_t value_length;
};
static_assert(sizeof(ConfigParameter) == 20);
constexpr std::uint32_t config_parameter_string = 2;

struct LinkState {
    ObjectHeader header;
    std::uint32_t connect_state;
    std::uint32_t duplex_state;
    std::uint32_t padding;
    std::uint64_t transmit_speed;
    std::uint64_t receive_speed;
    std::uint32_t pause_functions;
    std::uint32_t negotiation_flags;
};
static_assert(sizeof(LinkState) == 40);

} // namespace croft::vsp::network::protocol
