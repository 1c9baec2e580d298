// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// RNDIS messages (MS-RNDIS; Linux, include/linux/rndis.h and drivers/net/hyperv/hyperv_net.h,
// struct rndis_message). Offsets in a message count from behind its header. All numbers are little
// endian.
namespace croft::vsp::network::protocol {

enum class RndisType : std::uint32_t {
    packet = 1,
    initialize = 2,
    halt = 3,
    query = 4,
    set = 5,
    reset = 6,
    indicate_status = 7,
    keep_alive = 8,
};
/// The answer to a message has its type and this bit.
constexpr std::uint32_t rndis_completion = 0x80000000;

// Statuses: NDIS_STATUS_…
constexpr std::uint32_t rndis_success = 0;
constexpr std::uint32_t rndis_failure = 0xc0000001;
constexpr std::uint32_t rndis_not_supported = 0xc00000bb;
constexpr std::uint32_t rndis_multicast_full = 0xc0010009;
constexpr std::uint32_t rndis_not_ready = 0xc0010011;
constexpr std::uint32_t rndis_invalid_length = 0xc0010014;
constexpr std::uint32_t rndis_invalid_data = 0xc0010015;

// Statuses that are indicated.
constexpr std::uint32_t rndis_media_connect = 0x4001000b;
constexpr std::uint32_t rndis_media_disconnect = 0x4001000c;

struct RndisHeader {
    std::uint32_t type; // RndisType
    /// Of the whole message, with this header.
    std::uint32_t length;
};
static_assert(sizeof(RndisHeader) == 8);

constexpr std::uint32_t rndis_major_version = 1;
constexpr std::uint32_t rndis_minor_version = 0;
constexpr std::uint32_t rndis_connectionless = 1;
constexpr std::uint32_t rndis_medium_802_3 = 0;

struct InitializeRequest {
    std::uint32_t request_id;
    std::uint32_t major_version;
    std::uint32_t minor_version;
    std::uint32_t largest_transfer;
};
struct InitializeComplete {
    std::uint32_t request_id;
    std::uint32_t status;
    std::uint32_t major_version;
    std::uint32_t minor_version;
    std::uint32_t device_flags;
    std::uint32_t medium;
    /// In one message of NVSP.
    std::uint32_t most_packets;
    std::uint32_t largest_transfer;
    /// A power of two, to whose multiples packets in one message are padded.
    std::uint32_t alignment_shift;
    std::uint32_t af_list_offset;
    std::uint32_t af_list_size;
};
static_assert(sizeof(InitializeComplete) == 44);

/// QUERY and SET
struct OidRequest {
    std::uint32_t request_id;
    std::uint32_t oid;
    std::uint32_t info_length;
    std::uint32_t info_offset;
    std::uint32_t vc_handle;
};
static_assert(sizeof(OidRequest) == 20);

struct QueryComplete {
    std::uint32_t request_id;
    std::uint32_t status;
    std::uint32_t info_length;
    std::uint32_t info_offset;
};
static_assert(sizeof(QueryComplete) == 16);

/// Of SET and KEEPALIVE.
struct StatusComplete {
    std::uint32_t request_id;
    std::uint32_t status;
};

struct ResetComplete {
    std::uint32_t status;
    /// The guest has to set filter and addresses again.
    std::uint32_t addressing_reset;
};

struct IndicateStatus {
    std::uint32_t status;
    std::uint32_t buffer_length;
    std::uint32_t buffer_offset;
};
static_assert(sizeof(IndicateStatus) == 12);

/// PACKET: an Ethernet frame, and what is said about it.
struct RndisPacket {
    std::uint32_t data_offset;
    std::uint32_t data_length;
    std::uint32_t oob_offset;
    std::uint32_t oob_length;
    std::uint32_t oob_count;
    std::uint32_t info_offset;
    std::uint32_t info_length;
    std::uint32_t vc_handle;
    std::uint32_t reserved;
};
static_assert(sizeof(RndisPacket) == 36);

/// In front of each piece of per-packet information.
struct PacketInfo {
    /// With this.
    std::uint32_t size;
    /// info_…; the highest bit says that it is of a second kind.
    std::uint32_t type;
    std::uint32_t offset;
};
static_assert(sizeof(PacketInfo) == 12);

constexpr std::uint32_t info_checksum = 0;
constexpr std::uint32_t info_large_send = 2;
constexpr std::uint32_t info_vlan = 6;
constexpr std::uint32_t info_internal = 0x80000000;
/// RNDIS_PKTINFO_ID, of the second kind: which part of a large packet it is.
constexpr std::uint32_t info_part = info_internal | 1;

// info_checksum to the host (struct ndis_tcp_ip_checksum_info, transmit).
constexpr std::uint32_t send_is_ipv4 = 1U << 0;
constexpr std::uint32_t send_is_ipv6 = 1U << 1;
constexpr std::uint32_t send_tcp_checksum = 1U << 2;
constexpr std::uint32_t send_udp_checksum = 1U << 3;
constexpr std::uint32_t send_ip_checksum = 1U << 4;
constexpr unsigned send_tcp_offset_shift = 16;
constexpr std::uint32_t send_tcp_offset_mask = 0x3ff;

// And to the guest (receive).
constexpr std::uint32_t receive_tcp_succeeded = 1U << 3;
constexpr std::uint32_t receive_udp_succeeded = 1U << 4;

// info_large_send, version 2 (struct ndis_tcp_lso_info, lso_v2_transmit).
constexpr std::uint32_t large_send_mss_mask = 0xfffff;
constexpr unsigned large_send_tcp_offset_shift = 20;
constexpr std::uint32_t large_send_tcp_offset_mask = 0x3ff;
constexpr std::uint32_t large_send_version_2 = 1U << 30;
constexpr std::uint32_t large_send_ipv6 = 1U << 31;

// info_vlan (struct ndis_pkt_8021q_info): priority in bits 0 to 2, then CFI, then the VLAN's
// number.
constexpr unsigned vlan_cfi_shift = 3;
constexpr unsigned vlan_id_shift = 4;

// info_part (struct rndis_pktinfo_id): version, flags, number of the packet.
constexpr std::uint32_t part_version = 1;
constexpr unsigned part_flags_shift = 8;
constexpr std::uint32_t part_is_one = 1;
constexpr std::uint32_t part_is_first = 2;
constexpr std::uint32_t part_is_last = 4;

} // namespace croft::vsp::network::protocol
