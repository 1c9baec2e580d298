// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/mapped_memory.hpp"
#include "vmbus/vsp/channel_service.hpp"
#include "vmbus/vsp/offer.hpp"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// What the bus and a service in another process say to each other, over a socket that keeps
// messages apart (SOCK_SEQPACKET) and carries descriptors (SCM_RIGHTS). One socket is one device.
//
//     service                                 bus
//       hello (version, offer) ------------->
//       <------------------------- welcome (memory)     descriptors: the guest's memory
//       <------------------------- start, open, …       open: event in, event out
//       opened, … ------------------------->           or open_refused: why
//
// A service that can't begin says fail in place of hello. Beside the bus's affairs, its owner can
// ask the service's owner something (ask, answer; management.hpp).
//
// An end of the socket is the end of the device. Numbers are little endian.
namespace croft::vmbus::remote {

constexpr std::uint32_t protocol_version = 2;
/// A GPADL has 8190 pages at most, which is the largest thing that is sent.
constexpr std::size_t largest_message = 72 * 1024;
constexpr std::size_t most_descriptors = 2;
constexpr std::size_t most_memory_ranges = 64;
constexpr std::size_t longest_reason = 256;
/// Bytes of what is asked or answered that go in one message.
constexpr std::size_t longest_part = std::size_t{64} * 1024;

struct Hello {
    std::uint32_t version = protocol_version;
    Offer offer;
};
struct Welcome {
    std::uint32_t version = protocol_version;
    std::vector<MemoryFileRange> ranges;
    Descriptor memory;
};
struct Open {
    std::uint16_t sub_channel = 0;
    /// Its interrupt is an eventfd here.
    OpenChannel channel;
    Descriptor interrupt;
};
struct Close {
    std::uint16_t sub_channel = 0;
};
struct CreateGpadl {
    std::uint16_t sub_channel = 0;
    Gpadl gpadl;
};
struct TeardownGpadl {
    std::uint16_t sub_channel = 0;
    std::uint32_t id = 0;
};
struct Stop {};
struct Start {};
struct Opened {
    std::uint16_t sub_channel = 0;
};
struct Closed {
    std::uint16_t sub_channel = 0;
};
struct GpadlCreated {
    std::uint16_t sub_channel = 0;
    std::uint32_t id = 0;
    bool accepted = false;
};
struct GpadlTornDown {
    std::uint16_t sub_channel = 0;
    std::uint32_t id = 0;
};
struct Stopped {};
struct OfferSubChannels {
    std::uint16_t count = 0;
};
struct Fail {
    std::uint16_t sub_channel = 0;
    /// Printable ASCII; the rest arrives as question marks.
    std::string reason;
};
/// In place of Opened.
struct OpenRefused {
    std::uint16_t sub_channel = 0;
    /// As Fail's.
    std::string reason;
};
struct RequestRefused {
    std::uint16_t sub_channel = 0;
    /// As Fail's.
    std::string reason;
};
/// A part of a question, or of an answer; the last says so.
struct Ask {
    bool last = false;
    std::vector<std::uint8_t> part;
};
struct Answer {
    bool last = false;
    std::vector<std::uint8_t> part;
};

using Message = std::variant<Hello, Welcome, Open, Close, CreateGpadl, TeardownGpadl, Stop, Start,
    Opened, Closed, GpadlCreated, GpadlTornDown, Stopped, OfferSubChannels, Fail, Ask, Answer,
    OpenRefused, RequestRefused>;

/// The bytes of a message; its descriptors travel beside them (`descriptors_of`).
[[nodiscard]] std::vector<std::uint8_t> encode(const Message& message);
/// The descriptors of a message, in the order in which they are sent; they stay the message's.
[[nodiscard]] std::vector<int> descriptors_of(const Message& message);

/// The inverse. Everything is checked that can be without knowing what went before. Errors: one
/// line that names what is wrong.
[[nodiscard]] std::expected<Message, std::string> decode(
    std::span<const std::uint8_t> bytes, std::vector<Descriptor> descriptors);

} // namespace croft::vmbus::remote
