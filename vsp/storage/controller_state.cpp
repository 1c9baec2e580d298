// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/controller_state.hpp"

#include "vsp/storage/channel.hpp"
#include "vsp/storage/drive.hpp"

#include <cstring>
#include <fmt/format.h>
#include <string_view>
#include <utility>
#include <vector>

namespace croft::vsp::storage {

using vdev::Record;
using vdev::RecordError;

namespace {

constexpr const char* record_type = "storvsp";
constexpr const char* channel_type = "storvsp-channel";
constexpr const char* reply_type = "storvsp-reply";
constexpr const char* unit_type = "storvsp-unit";
constexpr std::uint32_t record_version = 1;

[[noreturn]] void refuse(std::string_view what) {
    throw RecordError(fmt::format(
        "saved state of '{}': {}; the file is damaged or was changed", record_type, what));
}

Record save_reply(const Reply& reply) {
    Record record(reply_type, record_version);
    const std::span bytes(reinterpret_cast<const std::uint8_t*>(&reply.packet), reply.size);
    record.set("transaction", reply.transaction_id).set_bytes("packet", bytes);
    return record;
}

Reply load_reply(const Record& record) {
    record.expect(reply_type, record_version);
    Reply reply;
    reply.transaction_id = record.get<std::uint64_t>("transaction");
    const auto bytes = record.get_bytes("packet", sizeof(protocol::Packet));
    if (bytes.size() < protocol::smallest_packet) {
        refuse("a reply is too short");
    }
    reply.size = bytes.size();
    std::memcpy(&reply.packet, bytes.data(), bytes.size());
    return reply;
}

Record save_channel(std::uint16_t index, const ChannelState& state) {
    Record record(channel_type, record_version);
    std::vector<Record> replies;
    replies.reserve(state.replies.size());
    for (const Reply& reply : state.replies) {
        replies.push_back(save_reply(reply));
    }
    record.set("index", index)
        .set("stage", static_cast<std::uint64_t>(state.negotiation.stage))
        .set("version", state.negotiation.version)
        .set("sub_channels", state.negotiation.sub_channels)
        .set_flag("rescan_wanted", state.rescan_wanted)
        .set_records("replies", replies);
    return record;
}

std::pair<std::uint16_t, ChannelState> load_channel(const Record& record) {
    record.expect(channel_type, record_version);
    ChannelState state;
    state.negotiation.stage =
        static_cast<Stage>(record.get("stage", static_cast<std::uint8_t>(Stage::ready)));
    state.negotiation.version = record.get<std::uint16_t>("version");
    state.negotiation.sub_channels = record.get<std::uint16_t>("sub_channels");
    state.rescan_wanted = record.get_flag("rescan_wanted");
    for (const Record& reply : record.get_records("replies")) {
        state.replies.push_back(load_reply(reply));
    }
    // Those under way when it was stopped, and the one that found no space.
    if (state.replies.size() > Channel::most_in_flight + 1) {
        refuse("a channel has more replies than commands");
    }
    return {record.get<std::uint16_t>("index"), std::move(state)};
}

Record save_unit(std::uint8_t lun, const scsi::UnitState& state) {
    Record record(unit_type, record_version);
    record.set("lun", lun)
        .set("attentions", state.attentions)
        .set_flag("is_locked", state.is_locked)
        .set_flag("is_open", state.is_open);
    return record;
}

std::pair<std::uint8_t, scsi::UnitState> load_unit(const Record& record) {
    record.expect(unit_type, record_version);
    scsi::UnitState state;
    state.attentions = record.get<std::uint8_t>("attentions", scsi::all_attentions);
    state.is_locked = record.get_flag("is_locked");
    state.is_open = record.get_flag("is_open");
    return {record.get<std::uint8_t>("lun", lun_count - 1), state};
}

} // namespace

Record ControllerState::save() const {
    std::vector<Record> saved_channels;
    saved_channels.reserve(channels.size());
    for (const auto& [index, state] : channels) {
        saved_channels.push_back(save_channel(index, state));
    }
    std::vector<Record> saved_units;
    saved_units.reserve(units.size());
    for (const auto& [lun, state] : units) {
        saved_units.push_back(save_unit(lun, state));
    }
    Record record(record_type, record_version);
    record.set_records("channels", saved_channels).set_records("units", saved_units);
    return record;
}

ControllerState ControllerState::load(const Record& record) {
    record.expect(record_type, record_version);
    ControllerState state;
    for (const Record& channel : record.get_records("channels")) {
        if (!state.channels.insert(load_channel(channel)).second) {
            refuse("a channel is there twice");
        }
    }
    for (const Record& unit : record.get_records("units")) {
        if (!state.units.insert(load_unit(unit)).second) {
            refuse("a unit is there twice");
        }
    }
    return state;
}

} // namespace croft::vsp::storage
