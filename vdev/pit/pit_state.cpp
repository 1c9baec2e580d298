// SPDX-License-Identifier: Apache-2.0
#include "vdev/pit/pit_state.hpp"

#include <fmt/format.h>

namespace croft::vdev {

namespace {
constexpr const char* pit_record = "i8254";
constexpr const char* channel_type = "i8254-channel";
constexpr std::uint32_t pit_version = 1;

Record save_channel(const PitState::Channel& channel) {
    Record record(channel_type, pit_version);
    record.set("mode", channel.mode)
        .set("access", channel.access)
        .set_flag("gate", channel.gate)
        .set_flag("loaded", channel.loaded)
        .set("reload", channel.reload)
        .set("started", channel.started)
        .set_flag("write_high_next", channel.write_high_next)
        .set_flag("read_high_next", channel.read_high_next)
        .set("written_low", channel.written_low)
        .set_flag("count_latched", channel.count_latched)
        .set("latched_count", channel.latched_count)
        .set_flag("status_latched", channel.status_latched)
        .set("latched_status", channel.latched_status)
        .set("edges_sent", channel.edges_sent);
    return record;
}

PitState::Channel load_channel(const Record& record) {
    record.expect(channel_type, pit_version);
    PitState::Channel channel;
    channel.mode = record.get<std::uint8_t>("mode", 5);
    channel.access = record.get<std::uint8_t>("access", 3);
    channel.gate = record.get_flag("gate");
    channel.loaded = record.get_flag("loaded");
    channel.reload = record.get<std::uint32_t>("reload", 65536);
    channel.started = record.get<std::uint64_t>("started");
    channel.write_high_next = record.get_flag("write_high_next");
    channel.read_high_next = record.get_flag("read_high_next");
    channel.written_low = record.get<std::uint8_t>("written_low");
    channel.count_latched = record.get_flag("count_latched");
    channel.latched_count = record.get<std::uint16_t>("latched_count");
    channel.status_latched = record.get_flag("status_latched");
    channel.latched_status = record.get<std::uint8_t>("latched_status");
    channel.edges_sent = record.get<std::uint64_t>("edges_sent");
    if (channel.reload == 0 || channel.access == 0) {
        throw RecordError(fmt::format("saved state of '{}': found a count of {} and access {}, "
                                      "expected both above 0; the file is damaged or was changed",
            pit_record, channel.reload, channel.access));
    }
    return channel;
}
} // namespace

Record PitState::save() const {
    std::vector<Record> saved;
    saved.reserve(channels.size());
    for (const Channel& channel : channels) {
        saved.push_back(save_channel(channel));
    }
    Record record(pit_record, pit_version);
    record.set("port_61", port_61).set_records("channels", saved);
    return record;
}

PitState PitState::load(const Record& record) {
    record.expect(pit_record, pit_version);
    PitState state;
    state.port_61 = record.get<std::uint8_t>("port_61", 3);
    const std::vector<Record> saved = record.get_records("channels");
    if (saved.size() != channel_count) {
        throw RecordError(
            fmt::format("saved state of '{}': found {} channels, expected {}; the file "
                        "is damaged or was changed",
                pit_record, saved.size(), channel_count));
    }
    for (unsigned index = 0; index < channel_count; ++index) {
        state.channels[index] = load_channel(saved[index]);
    }
    return state;
}

} // namespace croft::vdev
