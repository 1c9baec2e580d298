// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/rndis_control.hpp"

#include "vsp/network/frame_sender.hpp"
#include "vsp/network/protocol/rndis.hpp"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <optional>

namespace croft::vsp::network {

using protocol::RndisHeader;
using protocol::RndisType;

namespace {

template <typename Body>
Outcome reply(RndisType type, const Body& body, std::span<const std::uint8_t> more = {}) {
    const RndisHeader header{static_cast<std::uint32_t>(type) | protocol::rndis_completion,
        static_cast<std::uint32_t>(sizeof(header) + sizeof(body) + more.size())};
    Reply reply{Reply::Kind::rndis, 0, std::vector<std::uint8_t>(header.length)};
    std::memcpy(reply.bytes.data(), &header, sizeof(header));
    std::memcpy(reply.bytes.data() + sizeof(header), &body, sizeof(body));
    std::ranges::copy(
        more, reply.bytes.begin() + static_cast<std::ptrdiff_t>(sizeof(header) + sizeof(body)));
    Outcome outcome;
    outcome.replies.push_back(std::move(reply));
    return outcome;
}

/// The request as far as it was sent, the rest is zeros.
protocol::OidRequest request_of(std::span<const std::uint8_t> body) {
    protocol::OidRequest request{};
    std::memcpy(&request, body.data(), std::min(sizeof(request), body.size()));
    return request;
}

} // namespace

Answered RndisControl::answer(std::span<const std::uint8_t> message, const AdapterFacts& facts) {
    RndisHeader header{};
    std::uint32_t request_id = 0;
    if (message.size() < sizeof(header) + sizeof(request_id)) {
        return std::unexpected(fmt::format("found an RNDIS request of {} bytes, expected {} at "
                                           "least",
            message.size(), sizeof(header) + sizeof(request_id)));
    }
    std::memcpy(&header, message.data(), sizeof(header));
    if (header.length < sizeof(header) + sizeof(request_id) || header.length > message.size()) {
        return std::unexpected(fmt::format("found an RNDIS request that says it has {} bytes in a "
                                           "message of {}, expected it inside",
            header.length, message.size()));
    }
    const auto body = message.subspan(sizeof(header), header.length - sizeof(header));
    std::memcpy(&request_id, body.data(), sizeof(request_id));
    switch (static_cast<RndisType>(header.type)) {
    case RndisType::initialize:
        return initialize(request_id);
    case RndisType::query:
        return query(body, request_id, facts);
    case RndisType::set:
        return set(body, request_id, facts);
    case RndisType::reset:
        return reset_device();
    case RndisType::keep_alive:
        return reply(
            RndisType::keep_alive, protocol::StatusComplete{request_id, protocol::rndis_success});
    case RndisType::halt: {
        halt();
        Outcome outcome; // it isn't answered
        outcome.changes_settings = true;
        return outcome;
    }
    default:
        return std::unexpected(fmt::format(
            "found an RNDIS request of type {:#x}, expected one that guests send", header.type));
    }
}

Outcome RndisControl::initialize(std::uint32_t request_id) {
    state_ = {};
    state_.initialized = true;
    protocol::InitializeComplete answer{};
    answer.request_id = request_id;
    answer.status = protocol::rndis_success;
    answer.major_version = protocol::rndis_major_version;
    answer.minor_version = protocol::rndis_minor_version;
    answer.device_flags = protocol::rndis_connectionless;
    answer.medium = protocol::rndis_medium_802_3;
    answer.most_packets = FrameSender::most_packets;
    answer.largest_transfer = 1U << 20U;
    answer.alignment_shift = 3;
    Outcome outcome = reply(RndisType::initialize, answer);
    outcome.changes_settings = true;
    return outcome;
}

Outcome RndisControl::query(
    std::span<const std::uint8_t> body, std::uint32_t request_id, const AdapterFacts& facts) {
    const protocol::OidRequest request = request_of(body);
    protocol::QueryComplete answer{request_id, protocol::rndis_not_ready, 0, 0};
    if (!state_.initialized) {
        return reply(RndisType::query, answer);
    }
    const auto value =
        query_object(static_cast<protocol::Oid>(request.oid), request.info_length, facts, state_);
    if (!value) {
        answer.status = value.error();
        return reply(RndisType::query, answer);
    }
    answer.status = protocol::rndis_success;
    answer.info_length = static_cast<std::uint32_t>(value->size());
    answer.info_offset = sizeof(answer);
    return reply(RndisType::query, answer, *value);
}

Outcome RndisControl::set(
    std::span<const std::uint8_t> body, std::uint32_t request_id, const AdapterFacts& facts) {
    const protocol::OidRequest request = request_of(body);
    protocol::StatusComplete answer{request_id, protocol::rndis_not_ready};
    if (state_.initialized) {
        const bool is_inside = request.info_offset <= body.size() &&
            request.info_length <= body.size() - request.info_offset;
        answer.status = is_inside
            ? set_object(static_cast<protocol::Oid>(request.oid),
                  body.subspan(request.info_offset, request.info_length), facts, state_, address_)
            : protocol::rndis_invalid_length;
    }
    Outcome outcome = reply(RndisType::set, answer);
    outcome.changes_settings = answer.status == protocol::rndis_success;
    if (answer.status == protocol::rndis_invalid_length ||
        answer.status == protocol::rndis_invalid_data) {
        outcome.refusal = fmt::format("found {} bytes at {} of {} for object {:#x}, expected {}",
            request.info_length, request.info_offset, body.size(), request.oid,
            answer.status == protocol::rndis_invalid_length ? "the object's length"
                                                            : "values that it can have");
    }
    return outcome;
}

Outcome RndisControl::reset_device() {
    const bool was_initialized = state_.initialized;
    state_ = {};
    state_.initialized = was_initialized;
    Outcome outcome = reply(RndisType::reset, protocol::ResetComplete{protocol::rndis_success, 1});
    outcome.changes_settings = true;
    return outcome;
}

void RndisControl::restore(const RndisState& state, const MacAddress& address) {
    state_ = state;
    address_ = address;
}

} // namespace croft::vsp::network
