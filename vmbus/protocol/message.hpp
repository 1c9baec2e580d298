// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/protocol/guid.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

// Channel messages: what guest and host post to each other to bring channels up and down (Linux,
// include/linux/hyperv.h, struct vmbus_channel_…; names in capitals are CHANNELMSG_… there). They
// are the payload of SynIC messages. All numbers are little endian.
namespace croft::vmbus::protocol {

/// The payload of a SynIC message (TLFS "SynIC Message Format").
constexpr std::size_t largest_message = 240;
/// The SynIC message type of channel messages (Linux, drivers/hv/connection.c, vmbus_post_msg).
constexpr std::uint32_t synic_message_type = 1;
/// The interrupt source that messages and event flags of VMBus come by (VMBUS_MESSAGE_SINT).
constexpr std::uint8_t synic_interrupt_source = 2;

/// The connections on which guests post messages (VMBUS_MESSAGE_CONNECTION_ID, …_ID_4).
constexpr std::uint32_t message_connection = 1;
constexpr std::uint32_t message_connection_5_0 = 4;

/// Channels are named by numbers from 1, each also the number of its event flag, of which a SynIC
/// has 2048 (TLFS "SynIC Event Flags").
constexpr std::uint32_t relid_count = 2048;

/// The connection on which the guest signals a channel. Any number would do that is unique and no
/// message connection; this is OpenVMM's, and it shows the channel.
constexpr std::uint32_t event_connection(std::uint32_t relid) {
    return std::uint32_t{synic_interrupt_source} << 12 | relid;
}

enum class MessageType : std::uint32_t {
    offer_channel = 1,
    rescind_channel_offer = 2,
    request_offers = 3,
    all_offers_delivered = 4,
    open_channel = 5,
    open_channel_result = 6,
    close_channel = 7,
    gpadl_header = 8,
    gpadl_body = 9,
    gpadl_created = 10,
    gpadl_teardown = 11,
    gpadl_torndown = 12,
    relid_released = 13,
    initiate_contact = 14,
    version_response = 15,
    unload = 16,
    unload_response = 17,
    tl_connect_request = 21,
    modify_channel = 22,
    tl_connect_result = 23,
    modify_channel_response = 24,
};

// NTSTATUS values; guests tell success, which is 0, from the rest.
constexpr std::uint32_t status_success = 0;
constexpr std::uint32_t status_unsuccessful = 0xc0000001;
constexpr std::uint32_t status_connection_refused = 0xc0000236;

/// A `target_vp` that means: no interrupts.
constexpr std::uint32_t no_target_vp = 0xffffffff;

constexpr std::size_t user_defined_size = 120;
using UserDefined = std::array<std::uint8_t, user_defined_size>;

struct MessageHeader {
    std::uint32_t type; // MessageType
    std::uint32_t padding;
};
static_assert(sizeof(MessageHeader) == 8);

// Flags of an offer.
constexpr std::uint16_t offer_enumerate_device_interface = 0x0001;
constexpr std::uint16_t offer_named_pipe_mode = 0x0010;
/// A socket between guest and host, not a device.
constexpr std::uint16_t offer_tlnpi_provider = 0x2000;

/// The first 32 bits of what the offer's user defines, if it has offer_named_pipe_mode.
constexpr std::uint32_t pipe_mode_byte = 0;
constexpr std::uint32_t pipe_mode_message = 4;

/// OFFERCHANNEL
struct OfferChannel {
    MessageHeader header;
    Guid interface_type;
    Guid instance;
    std::array<std::uint32_t, 4> reserved;
    std::uint16_t flags;
    /// MMIO space that the device needs, in MiB.
    std::uint16_t mmio_megabytes;
    UserDefined user_defined;
    /// 0 for the primary channel.
    std::uint16_t sub_channel_index;
    std::uint16_t reserved_too;
    std::uint32_t relid;
    std::uint8_t monitor_id;
    /// Bit 0.
    std::uint8_t monitor_allocated;
    /// Bit 0: the guest signals on `connection_id` and sets no bit in the interrupt page.
    std::uint16_t dedicated_interrupt;
    std::uint32_t connection_id;
};
static_assert(sizeof(OfferChannel) == 196);

/// RESCIND_CHANNELOFFER
struct RescindChannelOffer {
    MessageHeader header;
    std::uint32_t relid;
};
static_assert(sizeof(RescindChannelOffer) == 12);

/// OPENCHANNEL
struct OpenChannel {
    MessageHeader header;
    std::uint32_t relid;
    /// Comes back in the result.
    std::uint32_t open_id;
    /// The pages of both rings, the guest's outgoing one first.
    std::uint32_t ring_gpadl;
    /// Where interrupts go.
    std::uint32_t target_vp;
    /// In pages, where the ring to the guest begins.
    std::uint32_t downstream_offset;
    UserDefined user_data;
};
static_assert(sizeof(OpenChannel) == 148);

/// OPENCHANNEL_RESULT
struct OpenChannelResult {
    MessageHeader header;
    std::uint32_t relid;
    std::uint32_t open_id;
    std::uint32_t status;
};
static_assert(sizeof(OpenChannelResult) == 20);

/// CLOSECHANNEL, which has no answer, and RELID_RELEASED.
struct ChannelMessage {
    MessageHeader header;
    std::uint32_t relid;
};
static_assert(sizeof(ChannelMessage) == 12);

/// GPADL_HEADER: followed by as much of the ranges (GpaRangeHeader and page numbers) as fits.
struct GpadlHeader {
    MessageHeader header;
    std::uint32_t relid;
    std::uint32_t gpadl;
    /// Bytes that all ranges have together. Being 16 bits it limits a GPADL to 8190 pages.
    std::uint16_t range_size;
    std::uint16_t range_count;
};
static_assert(sizeof(GpadlHeader) == 20);

/// GPADL_BODY: followed by more of the ranges.
struct GpadlBody {
    MessageHeader header;
    /// Linux leaves it zero.
    std::uint32_t number;
    std::uint32_t gpadl;
};
static_assert(sizeof(GpadlBody) == 16);

/// GPADL_CREATED
struct GpadlCreated {
    MessageHeader header;
    std::uint32_t relid;
    std::uint32_t gpadl;
    std::uint32_t status;
};
static_assert(sizeof(GpadlCreated) == 20);

/// GPADL_TEARDOWN
struct GpadlTeardown {
    MessageHeader header;
    std::uint32_t relid;
    std::uint32_t gpadl;
};
static_assert(sizeof(GpadlTeardown) == 16);

/// GPADL_TORNDOWN
struct GpadlTorndown {
    MessageHeader header;
    std::uint32_t gpadl;
};
static_assert(sizeof(GpadlTorndown) == 12);

/// INITIATE_CONTACT
struct InitiateContact {
    MessageHeader header;
    std::uint32_t version;
    /// Where the host posts its messages.
    std::uint32_t target_vp;
    /// From version 5.0; before, this and the next three are the interrupt page's address, which
    /// dedicated interrupts make superfluous.
    std::uint8_t sint;
    std::uint8_t vtl;
    std::uint16_t reserved;
    /// From version 6.0.
    std::uint32_t feature_flags;
    std::array<std::uint64_t, 2> monitor_pages;
};
static_assert(sizeof(InitiateContact) == 40);

/// VERSION_RESPONSE, as it is before version 6.0 and for every refusal.
struct VersionResponse {
    MessageHeader header;
    /// 0 or 1.
    std::uint8_t supported;
    /// 0 if the connection is made.
    std::uint8_t connection_state;
    std::uint16_t padding;
    /// From version 5.0 the connection on which the guest posts what follows; before, the version.
    std::uint32_t connection_id;
};
static_assert(sizeof(VersionResponse) == 16);

/// VERSION_RESPONSE from version 6.0.
struct VersionResponse6 {
    VersionResponse base;
    std::uint32_t feature_flags;
};
static_assert(sizeof(VersionResponse6) == 20);

/// TL_CONNECT_REQUEST: a guest's connect() to a socket of the host.
struct TlConnectRequest {
    MessageHeader header;
    Guid endpoint;
    Guid service;
};
static_assert(sizeof(TlConnectRequest) == 40);

/// TL_CONNECT_RESULT (OpenVMM, vmbus_core/src/protocol.rs)
struct TlConnectResult {
    MessageHeader header;
    Guid endpoint;
    Guid service;
    std::uint32_t status;
};
static_assert(sizeof(TlConnectResult) == 44);

/// MODIFYCHANNEL: interrupts go elsewhere from now on.
struct ModifyChannel {
    MessageHeader header;
    std::uint32_t relid;
    std::uint32_t target_vp;
};
static_assert(sizeof(ModifyChannel) == 16);

/// MODIFYCHANNEL_RESPONSE
struct ModifyChannelResponse {
    MessageHeader header;
    std::uint32_t relid;
    std::uint32_t status;
};
static_assert(sizeof(ModifyChannelResponse) == 16);

} // namespace croft::vmbus::protocol
