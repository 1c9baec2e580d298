// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/protocol/guid.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

// What a network driver and its provider send each other over VMBus (Linux,
// drivers/net/hyperv/hyperv_net.h, struct nvsp_message and what it holds; OpenVMM,
// netvsp/src/protocol.rs). All numbers are little endian.
namespace croft::vsp::network::protocol {

/// The interface type of a synthetic network adapter (Linux, include/linux/hyperv.h, HV_NIC_GUID).
inline constexpr vmbus::Guid network_interface =
    vmbus::Guid::of(0xf8615163, 0xdf3e, 0x46c5, {0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e});

/// NVSP_MSG…_TYPE_…
enum class MessageType : std::uint32_t {
    init = 1,
    init_complete = 2,
    // From version 1
    send_ndis_version = 100,
    send_receive_buffer = 101,
    send_receive_buffer_complete = 102,
    revoke_receive_buffer = 103,
    send_send_buffer = 104,
    send_send_buffer_complete = 105,
    revoke_send_buffer = 106,
    send_rndis_packet = 107,
    send_rndis_packet_complete = 108,
    // From version 2
    send_ndis_config = 125,
    // From version 4
    send_vf_association = 128,
    switch_data_path = 129,
    // From version 5
    oid_query_ex = 131,
    oid_query_ex_complete = 132,
    sub_channel = 133,
    send_indirection_table = 134,
};

constexpr std::uint32_t version_1 = 2;
constexpr std::uint32_t version_2 = 0x30002;
constexpr std::uint32_t version_4 = 0x40000;
constexpr std::uint32_t version_5 = 0x50000;
constexpr std::uint32_t version_6 = 0x60000;
constexpr std::uint32_t version_6_1 = 0x60001;
/// Those that this side speaks, oldest first.
inline constexpr std::array supported_versions = {
    version_1, version_2, version_4, version_5, version_6, version_6_1};

/// NVSP_STAT_…
enum class Status : std::uint32_t {
    none = 0,
    success = 1,
    failure = 2,
    protocol_too_new = 3,
    protocol_too_old = 4,
    invalid_rndis_packet = 5,
    busy = 6,
    protocol_unsupported = 7,
};

constexpr std::size_t body_size = 36;

/// struct nvsp_message; what the body is follows from the type.
struct Message {
    std::uint32_t type; // MessageType
    std::array<std::uint8_t, body_size> body;
};
static_assert(sizeof(Message) == 40);

struct Init {
    std::uint32_t oldest_version;
    std::uint32_t newest_version;
};
struct InitComplete {
    std::uint32_t version;
    std::uint32_t longest_mdl_chain;
    std::uint32_t status; // Status
};
static_assert(sizeof(InitComplete) == 12);

struct SendNdisVersion {
    std::uint32_t major;
    std::uint32_t minor;
};

/// Capabilities of a guest, struct nvsp_2_vsc_capability.
constexpr std::uint64_t capability_802_1q = 1U << 3;
/// It puts large received packets together from several parts.
constexpr std::uint64_t capability_rsc = 1U << 7;

struct SendNdisConfig {
    /// With the Ethernet header.
    std::uint32_t mtu;
    std::uint32_t reserved;
    /// capability_…; not aligned in a message, where it follows the type.
    std::uint64_t capabilities;
};
static_assert(sizeof(SendNdisConfig) == 16);

/// SEND_RECV_BUF and SEND_SEND_BUF
struct SendBuffer {
    std::uint32_t gpadl;
    std::uint16_t id;
    std::uint16_t reserved;
};
static_assert(sizeof(SendBuffer) == 8);

/// Names the receive buffer in packets to the guest; Linux knows this one only
/// (NETVSC_RECEIVE_BUFFER_ID).
constexpr std::uint16_t receive_buffer_id = 0xcafe;

/// The one part of the receive buffer, in sections of a size.
struct ReceiveBufferComplete {
    std::uint32_t status; // Status
    std::uint32_t section_kinds;
    std::uint32_t offset;
    std::uint32_t section_size;
    std::uint32_t section_count;
    std::uint32_t end;
};
static_assert(sizeof(ReceiveBufferComplete) <= body_size);

struct SendBufferComplete {
    std::uint32_t status; // Status
    std::uint32_t section_size;
};

/// The channel of RNDIS that a message belongs to (RMC_DATA, RMC_CONTROL).
constexpr std::uint32_t rndis_channel_data = 0;
constexpr std::uint32_t rndis_channel_control = 1;

/// All of the message is where the packet says.
constexpr std::uint32_t no_section = 0xffffffff;

struct SendRndisPacket {
    std::uint32_t channel; // rndis_channel_…
    /// Of the send buffer, with the beginning of the message, or `no_section`.
    std::uint32_t section;
    /// Bytes in it.
    std::uint32_t section_bytes;
};
static_assert(sizeof(SendRndisPacket) == 12);

/// A message with a SendRndisPacket and no more, as it is sent to guests.
struct RndisPacketMessage {
    std::uint32_t type;
    SendRndisPacket packet;
};
static_assert(sizeof(RndisPacketMessage) == 16);

/// The completion of one, in both directions.
struct RndisPacketComplete {
    std::uint32_t type;
    std::uint32_t status; // Status
};
static_assert(sizeof(RndisPacketComplete) == 8);

struct OidQueryExComplete {
    std::uint32_t status; // an RNDIS status
    std::uint32_t bytes;
};

constexpr std::uint32_t sub_channel_allocate = 1;

struct SubChannelRequest {
    std::uint32_t operation;
    std::uint32_t count;
};
struct SubChannelComplete {
    std::uint32_t status; // Status
    std::uint32_t count;
};

/// VRSS_SEND_TAB_SIZE
constexpr std::size_t send_table_size = 16;

/// SEND_INDIRECTION_TABLE: which channel the guest is to send on, by a hash.
struct SendTableMessage {
    std::uint32_t type;
    std::uint32_t count;
    /// From the start of the message.
    std::uint32_t offset;
    /// Up to version 6 Linux looks for the table behind a whole message, whatever `offset` says.
    std::array<std::uint32_t, 7> reserved;
    std::array<std::uint32_t, send_table_size> table;
};
static_assert(offsetof(SendTableMessage, table) == sizeof(Message));

} // namespace croft::vsp::network::protocol
