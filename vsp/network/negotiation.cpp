// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/negotiation.hpp"

#include "vsp/network/data_settings.hpp"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <utility>

namespace croft::vsp::network {

using protocol::MessageType;
using protocol::Status;

namespace {

/// The body of a message, as far as it was sent: the rest is zeros.
template <typename Body>
Body body_of(const Request& request) {
    Body body{};
    const std::size_t size = std::min(sizeof(body), request.bytes.size() - sizeof(std::uint32_t));
    std::memcpy(&body, request.bytes.data() + sizeof(std::uint32_t), size);
    return body;
}

template <typename Body>
Reply message_of(Reply::Kind kind, std::uint64_t transaction, MessageType type, const Body& body) {
    static_assert(sizeof(body) <= protocol::body_size);
    protocol::Message message{static_cast<std::uint32_t>(type), {}};
    std::memcpy(message.body.data(), &body, sizeof(body));
    Reply reply{kind, transaction, std::vector<std::uint8_t>(sizeof(message))};
    std::memcpy(reply.bytes.data(), &message, sizeof(message));
    return reply;
}

/// The answer, if one is waited for.
template <typename Body>
Outcome completion(const Request& request, MessageType type, const Body& body) {
    Outcome outcome;
    if (request.wants_completion) {
        outcome.replies.push_back(
            message_of(Reply::Kind::completion, request.transaction_id, type, body));
    }
    return outcome;
}

/// One that says no more than that the message was taken.
Outcome acknowledgement(const Request& request) {
    Outcome outcome;
    if (request.wants_completion) {
        outcome.replies.push_back({Reply::Kind::completion, request.transaction_id, {}});
    }
    return outcome;
}

constexpr std::uint32_t number_of(Status status) {
    return static_cast<std::uint32_t>(status);
}

/// Where the guest should send, until it knows better: on all channels alike.
Reply send_table(std::uint16_t channels) {
    protocol::SendTableMessage message{};
    message.type = static_cast<std::uint32_t>(MessageType::send_indirection_table);
    message.count = protocol::send_table_size;
    message.offset = offsetof(protocol::SendTableMessage, table);
    for (std::uint32_t i = 0; i < message.table.size(); ++i) {
        message.table.at(i) = i % channels;
    }
    Reply reply{Reply::Kind::notice, 0, std::vector<std::uint8_t>(sizeof(message))};
    std::memcpy(reply.bytes.data(), &message, sizeof(message));
    return reply;
}

/// Why a buffer isn't taken.
std::string why_not(
    std::string_view kind, const protocol::SendBuffer& given, bool is_first, std::uint32_t size) {
    return is_first ? fmt::format("found GPADL {:#x} with id {:#x} as the {} buffer, expected one "
                                  "that is there, with a section of {} bytes at least",
                          given.gpadl, given.id, kind, size)
                    : fmt::format("found a second {} buffer, expected one", kind);
}

/// Channels share the receive buffer, but a small one isn't split into shares of no use: a frame
/// of the largest size takes up to 40 sections.
constexpr std::uint32_t smallest_share = 64;

} // namespace

std::uint32_t Negotiation::mtu() const {
    return std::min(state_.mtu, limits_.mtu);
}

std::uint32_t Negotiation::sections_per_channel() const {
    if (receive_buffer_ == nullptr) {
        return 0;
    }
    const std::uint32_t count = receive_buffer_->section_count();
    return std::max(count / (limits_.most_sub_channels + 1U), std::min(count, smallest_share));
}

std::uint16_t Negotiation::most_sub_channels() const {
    if (receive_buffer_ == nullptr) {
        return 0;
    }
    const std::uint32_t shares = receive_buffer_->section_count() / sections_per_channel();
    return static_cast<std::uint16_t>(
        std::min<std::uint32_t>(limits_.most_sub_channels, shares - 1));
}

Answered Negotiation::answer(const Request& request) {
    std::uint32_t type = 0;
    std::memcpy(&type, request.bytes.data(), sizeof(type));
    if (state_.version == 0 && type != static_cast<std::uint32_t>(MessageType::init)) {
        return std::unexpected(
            fmt::format("found a message of type {}, expected a version first", type));
    }
    switch (static_cast<MessageType>(type)) {
    case MessageType::init:
        return init(request);
    case MessageType::send_ndis_version:
        return acknowledgement(request); // objects are what the version of NVSP says
    case MessageType::send_ndis_config:
        return ndis_config(request);
    case MessageType::send_receive_buffer:
        return receive_buffer(request);
    case MessageType::send_send_buffer:
        return send_buffer(request);
    case MessageType::revoke_receive_buffer:
        return revoke(request, state_.receive_gpadl, receive_buffer_);
    case MessageType::revoke_send_buffer:
        return revoke(request, state_.send_gpadl, send_buffer_);
    case MessageType::switch_data_path:
        return acknowledgement(request); // there is one only
    case MessageType::oid_query_ex:
        return completion(request, MessageType::oid_query_ex_complete,
            protocol::OidQueryExComplete{number_of(Status::failure), 0});
    case MessageType::sub_channel:
        return sub_channels(request);
    default:
        return std::unexpected(
            fmt::format("found a message of type {}, expected one that guests send", type));
    }
}

Answered Negotiation::init(const Request& request) {
    const auto wanted = body_of<protocol::Init>(request);
    protocol::InitComplete answer{protocol::supported_versions.back(), 34, 0};
    std::uint32_t version = 0;
    for (const std::uint32_t known : protocol::supported_versions) {
        if (known >= wanted.oldest_version && known <= wanted.newest_version) {
            version = known;
        }
    }
    if (version == 0) {
        answer.status = number_of(wanted.oldest_version > protocol::supported_versions.back()
                ? Status::protocol_too_new
                : Status::protocol_unsupported);
    } else if (state_.version != 0) {
        answer.status = number_of(Status::failure);
    } else {
        state_.version = version;
        answer.version = version;
        answer.status = number_of(Status::success);
    }
    return completion(request, MessageType::init_complete, answer);
}

Answered Negotiation::ndis_config(const Request& request) {
    const auto config = body_of<protocol::SendNdisConfig>(request);
    if (config.mtu < ethernet_header_size + smallest_mtu ||
        config.mtu > ethernet_header_size + 0xffff) {
        return std::unexpected(fmt::format("found an MTU of {} bytes with the Ethernet header, "
                                           "expected {} to {}",
            config.mtu, ethernet_header_size + smallest_mtu, ethernet_header_size + 0xffff));
    }
    if (receive_buffer_ != nullptr) {
        return std::unexpected(
            std::string("found an MTU after the receive buffer, expected it before"));
    }
    state_.mtu = config.mtu - std::uint32_t{ethernet_header_size};
    state_.coalesces = state_.version >= protocol::version_6_1 &&
        (config.capabilities & protocol::capability_rsc) != 0;
    return acknowledgement(request);
}

Answered Negotiation::receive_buffer(const Request& request) {
    const auto given = body_of<protocol::SendBuffer>(request);
    protocol::ReceiveBufferComplete answer{};
    answer.status = number_of(Status::failure);
    const std::uint32_t size = receive_section_size(mtu());
    const bool is_first = receive_buffer_ == nullptr;
    if (is_first && given.id == protocol::receive_buffer_id) {
        receive_buffer_ = map_(given.gpadl, size);
        if (receive_buffer_ != nullptr) {
            state_.receive_gpadl = given.gpadl;
            const std::uint32_t count = receive_buffer_->section_count();
            answer = {number_of(Status::success), 1, 0, size, count, size * count};
        }
    }
    Outcome outcome = completion(request, MessageType::send_receive_buffer_complete, answer);
    outcome.changes_settings = true;
    if (answer.status != number_of(Status::success)) {
        outcome.refusal = why_not("receive", given, is_first, size);
    }
    return outcome;
}

Answered Negotiation::send_buffer(const Request& request) {
    const auto given = body_of<protocol::SendBuffer>(request);
    protocol::SendBufferComplete answer{number_of(Status::failure), 0};
    const bool is_first = send_buffer_ == nullptr;
    if (is_first) {
        send_buffer_ = map_(given.gpadl, send_section_size);
        if (send_buffer_ != nullptr) {
            state_.send_gpadl = given.gpadl;
            answer = {number_of(Status::success), send_section_size};
        }
    }
    Outcome outcome = completion(request, MessageType::send_send_buffer_complete, answer);
    outcome.changes_settings = true;
    if (answer.status != number_of(Status::success)) {
        outcome.refusal = why_not("send", given, is_first, send_section_size);
    }
    return outcome;
}

Answered Negotiation::revoke(
    const Request& request, std::uint32_t& gpadl, std::shared_ptr<const SharedBuffer>& buffer) {
    gpadl = 0;
    buffer.reset();
    Outcome outcome = acknowledgement(request);
    outcome.changes_settings = true;
    return outcome;
}

Answered Negotiation::sub_channels(const Request& request) {
    const auto wanted = body_of<protocol::SubChannelRequest>(request);
    protocol::SubChannelComplete answer{number_of(Status::failure), 0};
    const auto count =
        static_cast<std::uint16_t>(std::min<std::uint32_t>(wanted.count, most_sub_channels()));
    // They stay until the primary channel is closed: there can be more, not fewer.
    const bool is_good = state_.version >= protocol::version_5 &&
        wanted.operation == protocol::sub_channel_allocate && count >= state_.sub_channels;
    if (is_good) {
        state_.sub_channels = count;
        answer = {number_of(Status::success), count};
    }
    Outcome outcome = completion(request, MessageType::sub_channel, answer);
    if (is_good) {
        outcome.sub_channels = count;
        outcome.replies.push_back(send_table(static_cast<std::uint16_t>(count + 1)));
    } else {
        outcome.refusal = fmt::format("found operation {} for {} sub-channels, expected {} for {} "
                                      "or more",
            wanted.operation, wanted.count, protocol::sub_channel_allocate, state_.sub_channels);
    }
    return outcome;
}

bool Negotiation::forget(std::uint32_t gpadl) {
    bool was_used = false;
    if (receive_buffer_ != nullptr && receive_buffer_->gpadl() == gpadl) {
        receive_buffer_.reset();
        state_.receive_gpadl = 0;
        was_used = true;
    }
    if (send_buffer_ != nullptr && send_buffer_->gpadl() == gpadl) {
        send_buffer_.reset();
        state_.send_gpadl = 0;
        was_used = true;
    }
    return was_used;
}

void Negotiation::reset() {
    state_ = {};
    receive_buffer_.reset();
    send_buffer_.reset();
}

bool Negotiation::restore(const NegotiationState& state) {
    state_ = state;
    receive_buffer_ =
        state.receive_gpadl != 0 ? map_(state.receive_gpadl, receive_section_size(mtu())) : nullptr;
    send_buffer_ = state.send_gpadl != 0 ? map_(state.send_gpadl, send_section_size) : nullptr;
    const bool is_there = (receive_buffer_ != nullptr) == (state.receive_gpadl != 0) &&
        (send_buffer_ != nullptr) == (state.send_gpadl != 0);
    return is_there && state.sub_channels <= (state.sub_channels != 0 ? most_sub_channels() : 0);
}

} // namespace croft::vsp::network
