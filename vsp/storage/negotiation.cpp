// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/negotiation.hpp"

#include "vsp/storage/scsi/limits.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace croft::vsp::storage {

namespace {

/// In the order in which they come; the stage is that in which the operation is expected.
std::optional<Stage> stage_of(protocol::Operation operation) {
    switch (operation) {
    case protocol::Operation::begin_initialization:
        return Stage::begin_initialization;
    case protocol::Operation::query_protocol_version:
        return Stage::query_protocol_version;
    case protocol::Operation::query_properties:
        return Stage::query_properties;
    case protocol::Operation::end_initialization:
        return Stage::end_initialization;
    default:
        return std::nullopt;
    }
}

} // namespace

std::uint32_t Negotiation::answer(protocol::Packet& packet) {
    const auto operation = static_cast<protocol::Operation>(packet.header.operation);
    if (operation == protocol::Operation::create_sub_channels) {
        return create_sub_channels(packet);
    }
    if (stage_of(operation) != state_.stage) {
        return protocol::status_invalid_device_state;
    }
    switch (state_.stage) {
    case Stage::begin_initialization:
        state_.stage = Stage::query_protocol_version;
        return protocol::status_success;
    case Stage::query_protocol_version:
        return query_version(packet);
    case Stage::query_properties:
        return query_properties(packet);
    default:
        state_.stage = Stage::ready;
        return protocol::status_success;
    }
}

std::uint32_t Negotiation::query_version(protocol::Packet& packet) {
    constexpr std::array known = {
        protocol::version_win8, protocol::version_win8_1, protocol::version_win10};
    std::uint16_t version = 0;
    std::memcpy(&version, packet.body.data(), sizeof(version));
    if (std::ranges::find(known, version) == known.end()) {
        return protocol::status_revision_mismatch; // the guest asks again
    }
    state_.version = version;
    state_.stage = Stage::query_properties;
    return protocol::status_success;
}

std::uint32_t Negotiation::query_properties(protocol::Packet& packet) {
    protocol::ChannelProperties properties{};
    properties.sub_channel_count = most_sub_channels_;
    properties.flags = protocol::channel_supports_multi_channel;
    properties.transfer_bytes = scsi::largest_transfer;
    packet.body = {};
    std::memcpy(packet.body.data(), &properties, sizeof(properties));
    state_.stage = Stage::end_initialization;
    return protocol::status_success;
}

std::uint32_t Negotiation::create_sub_channels(const protocol::Packet& packet) {
    if (state_.stage != Stage::end_initialization && state_.stage != Stage::ready) {
        return protocol::status_invalid_device_state;
    }
    std::uint16_t count = 0;
    std::memcpy(&count, packet.body.data(), sizeof(count));
    // They stay until the primary channel is closed: there can be more, not fewer.
    if (count > most_sub_channels_ || count < state_.sub_channels) {
        return protocol::status_invalid_parameter;
    }
    state_.sub_channels = count;
    return protocol::status_success;
}

} // namespace croft::vsp::storage
