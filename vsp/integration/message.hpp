// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/protocol/guid.hpp"
#include "vmbus/protocol/message.hpp"
#include "vmbus/vsp/offer.hpp"

#include <compare>
#include <cstdint>

// What the integration components (IC) say to each other: small messages behind the header of
// VMBus pipes (Linux, include/linux/hyperv.h, struct icmsg_hdr and what follows it; drivers/hv/
// hv_util.c; include/uapi/linux/hyperv.h). All numbers are little endian.
namespace croft::vsp::integration::message {

struct Version {
    std::uint16_t major;
    std::uint16_t minor;

    friend constexpr auto operator<=>(const Version&, const Version&) = default;
};
static_assert(sizeof(Version) == 4);

enum class Type : std::uint16_t {
    negotiate = 0,
    heartbeat = 1,
    key_value_exchange = 2,
    shutdown = 3,
    time_sync = 4,
};

constexpr std::uint8_t flag_transaction = 1;
constexpr std::uint8_t flag_request = 2;
constexpr std::uint8_t flag_response = 4;

// Status values are Windows' HRESULTs.
constexpr std::uint32_t status_ok = 0;
constexpr std::uint32_t status_not_connected = 0x8007048f;

/// Behind protocol::PipeHeader.
struct [[gnu::packed]] Header {
    Version framework;
    std::uint16_t type; // Type
    Version message;
    /// Bytes that follow.
    std::uint16_t size;
    std::uint32_t status;
    std::uint8_t transaction;
    std::uint8_t flags;
    std::uint8_t reserved[2];
};
static_assert(sizeof(Header) == 20);

/// Type::negotiate: followed by the versions of the framework, and those of the messages. The
/// answer has one of each, or none if nothing fits.
struct Negotiate {
    std::uint16_t framework_count;
    std::uint16_t message_count;
    std::uint32_t reserved;
};
static_assert(sizeof(Negotiate) == 8);

/// Type::heartbeat
struct Heartbeat {
    std::uint64_t sequence;
    std::uint32_t reserved[8];
};
static_assert(sizeof(Heartbeat) == 40);

// Type::shutdown
constexpr std::uint32_t shutdown_forced = 1;
constexpr std::uint32_t shutdown_reboot = 2;
constexpr std::uint32_t shutdown_hibernate = 4;
/// Windows' SHTDN_REASON_FLAG_PLANNED.
constexpr std::uint32_t shutdown_planned = 0x80000000;

struct Shutdown {
    std::uint32_t reason;
    std::uint32_t timeout_seconds;
    std::uint32_t flags;
    /// UTF-16, for the guest's users.
    std::uint8_t text[2048];
};
static_assert(sizeof(Shutdown) == 2060);

// Type::time_sync. Times are in units of 100 ns.
/// The guest is to set its clock.
constexpr std::uint8_t time_sync_set = 1;
/// It may follow it.
constexpr std::uint8_t time_sync_sample = 2;
/// From 1601-01-01, where parents begin to count, to 1970-01-01 (WLTIMEDELTA).
constexpr std::uint64_t epoch_difference = 116'444'736'000'000'000;

/// From version 4.0.
struct [[gnu::packed]] TimeSync4 {
    std::uint64_t parent_time;
    /// The partition's reference time at which that was so.
    std::uint64_t reference_time;
    std::uint8_t flags;
    std::int8_t leap_flags;
    std::int8_t stratum;
    std::uint8_t reserved[3];
};
static_assert(sizeof(TimeSync4) == 22);

/// Before version 4.0.
struct [[gnu::packed]] TimeSync1 {
    std::uint64_t parent_time;
    std::uint64_t child_time;
    std::uint64_t round_trip_time;
    std::uint8_t flags;
};
static_assert(sizeof(TimeSync1) == 25);

// Type::key_value_exchange
constexpr std::uint8_t key_value_enumerate = 3;
/// What the guest says of itself.
constexpr std::uint8_t key_value_pool_auto = 2;

struct KeyValueData {
    std::uint32_t type;
    /// In bytes, with the terminating zero.
    std::uint32_t key_size;
    std::uint32_t value_size;
    std::uint8_t key[512];
    std::uint8_t value[2048];
};

struct KeyValueEnumerate {
    std::uint8_t operation;
    std::uint8_t pool;
    std::uint16_t reserved;
    std::uint32_t index;
    KeyValueData data;
};
static_assert(sizeof(KeyValueEnumerate) == 2580);

/// The offer of an integration component.
[[nodiscard]] constexpr vmbus::Offer offer_of(
    const vmbus::Guid& interface_type, const vmbus::Guid& instance) {
    vmbus::Offer offer;
    offer.interface_type = interface_type;
    offer.instance = instance;
    offer.flags =
        vmbus::protocol::offer_enumerate_device_interface | vmbus::protocol::offer_named_pipe_mode;
    offer.user_defined[0] = vmbus::protocol::pipe_mode_message;
    return offer;
}

// The instances are those that Hyper-V gives every VM (OpenVMM, hyperv_ic_protocol).
constexpr vmbus::Offer heartbeat_offer = offer_of(
    vmbus::Guid::of(0x57164f39, 0x9115, 0x4e78, {0xab, 0x55, 0x38, 0x2f, 0x3b, 0xd5, 0x42, 0x2d}),
    vmbus::Guid::of(0xfd149e91, 0x82e0, 0x4a7d, {0xaf, 0xa6, 0x2a, 0x41, 0x66, 0xcb, 0xd7, 0xc0}));
constexpr vmbus::Offer key_value_offer = offer_of(
    vmbus::Guid::of(0xa9a0f4e7, 0x5a45, 0x4d96, {0xb8, 0x27, 0x8a, 0x84, 0x1e, 0x8c, 0x03, 0xe6}),
    vmbus::Guid::of(0x242ff919, 0x07db, 0x4180, {0x9c, 0x2e, 0xb8, 0x6c, 0xb6, 0x8c, 0x8c, 0x55}));
constexpr vmbus::Offer shutdown_offer = offer_of(
    vmbus::Guid::of(0x0e0b6031, 0x5213, 0x4934, {0x81, 0x8b, 0x38, 0xd9, 0x0c, 0xed, 0x39, 0xdb}),
    vmbus::Guid::of(0xb6650ff7, 0x33bc, 0x4840, {0x80, 0x48, 0xe0, 0x67, 0x67, 0x86, 0xf3, 0x93}));
constexpr vmbus::Offer time_sync_offer = offer_of(
    vmbus::Guid::of(0x9527e630, 0xd0ae, 0x497b, {0xad, 0xce, 0xe8, 0x0a, 0xb0, 0x17, 0x5c, 0xaf}),
    vmbus::Guid::of(0x2dd1ce17, 0x079e, 0x403c, {0xb3, 0x52, 0xa1, 0x92, 0x1e, 0xe2, 0x07, 0xee}));

} // namespace croft::vsp::integration::message
