// SPDX-License-Identifier: Apache-2.0
#include "vmbus/server/server_state.hpp"

#include "vdev/error.hpp"

#include <algorithm>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <utility>

namespace croft::vmbus {

using protocol::relid_count;
using vdev::Record;
using vdev::RecordError;

namespace {

constexpr std::uint32_t record_version = 1;

template <std::size_t Size>
std::array<std::uint8_t, Size> get_array(const Record& record, std::string_view field) {
    const std::vector<std::uint8_t> bytes = record.get_bytes(field, Size);
    if (bytes.size() != Size) {
        throw RecordError("saved state of 'vmbus': found a field of the wrong length, expected a "
                          "whole one; the file is damaged or was changed");
    }
    std::array<std::uint8_t, Size> result{};
    std::ranges::copy(bytes, result.begin());
    return result;
}

std::span<const std::uint8_t> bytes_of(const std::vector<std::uint64_t>& words) {
    return {
        reinterpret_cast<const std::uint8_t*>(words.data()), words.size() * sizeof(std::uint64_t)};
}

Record save_channel(const ServerState::Channel& channel) {
    Record record("vmbus.channel", record_version);
    record.set_bytes("interface_type", channel.offer.interface_type.bytes)
        .set_bytes("instance", channel.offer.instance.bytes)
        .set("sub_channel", channel.index)
        .set("relid", channel.relid)
        .set_flag("rescinded", channel.rescinded)
        .set_flag("released", channel.released)
        .set_flag("open", channel.open);
    if (channel.open) {
        record.set("open_id", channel.parameters.open_id)
            .set("ring_gpadl", channel.parameters.ring_gpadl)
            .set("downstream_offset", channel.parameters.downstream_offset)
            .set("target_vp", channel.parameters.target_vp)
            .set_bytes("user_data", channel.parameters.user_data);
    }
    return record;
}

ServerState::Channel load_channel(const Record& record) {
    record.expect("vmbus.channel", record_version);
    ServerState::Channel channel;
    channel.offer.interface_type.bytes = get_array<16>(record, "interface_type");
    channel.offer.instance.bytes = get_array<16>(record, "instance");
    channel.index = record.get<std::uint16_t>("sub_channel");
    channel.relid = record.get<std::uint32_t>("relid", relid_count - 1);
    channel.rescinded = record.get_flag("rescinded");
    channel.released = record.get_flag("released");
    channel.open = record.get_flag("open");
    if (channel.open) {
        channel.parameters.open_id = record.get<std::uint32_t>("open_id");
        channel.parameters.ring_gpadl = record.get<std::uint32_t>("ring_gpadl");
        channel.parameters.downstream_offset = record.get<std::uint32_t>("downstream_offset");
        channel.parameters.target_vp = record.get<std::uint32_t>("target_vp");
        channel.parameters.user_data = get_array<protocol::user_defined_size>(record, "user_data");
    }
    return channel;
}

Record save_gpadl(const ServerState::Gpadl& gpadl) {
    Record record("vmbus.gpadl", record_version);
    record.set("relid", gpadl.relid)
        .set("gpadl", gpadl.id)
        .set("range_count", gpadl.range_count)
        .set("expected_words", gpadl.expected_words)
        .set_bytes("ranges", bytes_of(gpadl.words))
        .set_flag("end_wanted", gpadl.end_wanted)
        .set_flag("answer_teardown", gpadl.answer_teardown);
    return record;
}

ServerState::Gpadl load_gpadl(const Record& record) {
    record.expect("vmbus.gpadl", record_version);
    ServerState::Gpadl gpadl;
    gpadl.relid = record.get<std::uint32_t>("relid", relid_count - 1);
    gpadl.id = record.get<std::uint32_t>("gpadl");
    gpadl.range_count = record.get<std::uint16_t>("range_count");
    gpadl.expected_words = record.get<std::uint32_t>("expected_words", 65535 / 8);
    const std::vector<std::uint8_t> bytes =
        record.get_bytes("ranges", gpadl.expected_words * sizeof(std::uint64_t));
    gpadl.words.resize(bytes.size() / sizeof(std::uint64_t));
    if (!gpadl.words.empty()) {
        std::memcpy(gpadl.words.data(), bytes.data(), gpadl.words.size() * sizeof(std::uint64_t));
    }
    gpadl.end_wanted = record.get_flag("end_wanted");
    gpadl.answer_teardown = record.get_flag("answer_teardown");
    return gpadl;
}

[[noreturn]] void refuse(std::string_view what) {
    throw RecordError("saved state of 'vmbus': found " + std::string(what) +
        "; the file is damaged or was changed");
}

/// What no server can have saved.
void check_channels(const ServerState& state) {
    std::set<std::uint32_t> relids;
    std::set<std::pair<Guid, std::uint16_t>> live;
    for (const ServerState::Channel& channel : state.channels) {
        if (state.version == 0) {
            refuse("channels without a connection");
        }
        if (channel.relid == 0 ? !channel.released : !relids.insert(channel.relid).second) {
            refuse("two channels of one number, or one without");
        }
        if (!channel.rescinded && !live.insert({channel.offer.instance, channel.index}).second) {
            refuse("two channels of one instance");
        }
        if (channel.open && (channel.relid == 0 || channel.rescinded || channel.released)) {
            refuse("an open channel that is gone");
        }
    }
    for (const ServerState::Gpadl& gpadl : state.gpadls) {
        if (!relids.contains(gpadl.relid)) {
            refuse("a GPADL of no channel");
        }
    }
}

} // namespace

Record ServerState::save() const {
    std::vector<Record> channel_records;
    channel_records.reserve(channels.size());
    for (const Channel& channel : channels) {
        channel_records.push_back(save_channel(channel));
    }
    std::vector<Record> gpadl_records;
    gpadl_records.reserve(gpadls.size());
    for (const Gpadl& gpadl : gpadls) {
        gpadl_records.push_back(save_gpadl(gpadl));
    }
    std::vector<Record> message_records;
    message_records.reserve(messages.size());
    for (const Outbox::Message& message : messages) {
        message_records.emplace_back("vmbus.message", record_version);
        message_records.back()
            .set_bytes("payload", message.bytes)
            .set_flag("is_answer", message.is_answer);
    }
    Record record("vmbus", record_version);
    record.set("protocol_version", version)
        .set("feature_flags", feature_flags)
        .set("message_vp", message_vp)
        .set_flag("offers_requested", offers_requested)
        .set_records("channels", channel_records)
        .set_records("gpadls", gpadl_records)
        .set_records("messages", message_records);
    return record;
}

ServerState ServerState::load(const Record& record) {
    record.expect("vmbus", record_version);
    ServerState state;
    state.version = record.get<std::uint32_t>("protocol_version");
    if (state.version != 0 &&
        std::ranges::find(protocol::supported_versions, state.version) ==
            protocol::supported_versions.end()) {
        refuse("a protocol version that isn't known");
    }
    state.feature_flags = record.get<std::uint32_t>("feature_flags", 0);
    state.message_vp = record.get<std::uint32_t>("message_vp");
    state.offers_requested = record.get_flag("offers_requested");
    for (const Record& channel : record.get_records("channels")) {
        state.channels.push_back(load_channel(channel));
    }
    for (const Record& gpadl : record.get_records("gpadls")) {
        state.gpadls.push_back(load_gpadl(gpadl));
    }
    for (const Record& message : record.get_records("messages")) {
        message.expect("vmbus.message", record_version);
        state.messages.push_back({message.get_bytes("payload", protocol::largest_message),
            message.get_flag("is_answer")});
    }
    check_channels(state);
    return state;
}

} // namespace croft::vmbus
