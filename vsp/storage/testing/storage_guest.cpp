// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/testing/storage_guest.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace croft::vsp::storage::testing {

using protocol::Operation;
using vmbus::testing::GuestPacket;

namespace {

constexpr std::uint16_t type_in_band = 6;
constexpr std::uint16_t type_gpa_direct = 9;
constexpr std::size_t page_size = 4096;

std::vector<std::uint64_t> words_of(const protocol::Packet& packet) {
    std::vector<std::uint64_t> words(sizeof(packet) / 8);
    std::memcpy(words.data(), &packet, sizeof(packet));
    return words;
}

protocol::Packet packet_in(const GuestPacket& packet) {
    protocol::Packet found{};
    std::memcpy(&found, packet.payload.data(), std::min(sizeof(found), 8 * packet.payload.size()));
    return found;
}

} // namespace

std::uint32_t ScsiResult::sense_code() const {
    if (sense.size() < 14) {
        return 0;
    }
    return std::uint32_t{sense[2]} << 16 | std::uint32_t{sense[12]} << 8 | sense[13];
}

GuestPacket packet_of(Operation operation, std::uint64_t first_body_word) {
    protocol::Packet packet{};
    packet.header = {static_cast<std::uint32_t>(operation), 1, 0};
    std::memcpy(packet.body.data(), &first_body_word, sizeof(first_body_word));
    GuestPacket made;
    made.type = type_in_band;
    made.flags = 1;
    made.payload = words_of(packet);
    return made;
}

GuestPacket GuestCommand::packet() const {
    protocol::ScsiRequest scsi{};
    scsi.length = sizeof(scsi);
    scsi.path = path;
    scsi.target = target;
    scsi.lun = lun;
    scsi.cdb_length = static_cast<std::uint8_t>(cdb.size());
    scsi.sense_length = protocol::sense_size;
    scsi.direction = direction;
    scsi.data_length = length;
    std::copy_n(cdb.begin(), std::min<std::size_t>(cdb.size(), 16), scsi.payload.begin());
    protocol::Packet packet{};
    packet.header = {static_cast<std::uint32_t>(Operation::execute_srb), 1, 0};
    packet.body = std::bit_cast<std::array<std::uint8_t, protocol::body_size>>(scsi);
    GuestPacket made;
    made.type = length != 0 ? type_gpa_direct : type_in_band;
    made.flags = 1;
    made.transaction_id = transaction_id;
    made.payload = words_of(packet);
    if (length != 0) {
        made.header = {std::uint64_t{1} << 32, length | std::uint64_t{offset} << 32};
        made.header.insert(made.header.end(), pages.begin(), pages.end());
    }
    return made;
}

std::uint32_t operation_of(const GuestPacket& packet) {
    return packet_in(packet).header.operation;
}

std::uint32_t status_of(const GuestPacket& packet) {
    return packet_in(packet).header.status;
}

ScsiResult result_of(const GuestPacket& packet) {
    const protocol::Packet found = packet_in(packet);
    const auto scsi = std::bit_cast<protocol::ScsiRequest>(found.body);
    ScsiResult result{found.header.status, scsi.srb_status, scsi.scsi_status, scsi.data_length, {}};
    if ((scsi.srb_status & protocol::srb_autosense_valid) != 0) {
        result.sense.assign(scsi.payload.begin(), scsi.payload.begin() + scsi.sense_length);
    }
    return result;
}

std::optional<GuestPacket> StorageGuest::exchange(Channel& channel, GuestPacket packet) {
    packet.transaction_id = next_transaction_++;
    if (!guest_.send(channel, packet)) {
        return std::nullopt;
    }
    for (;;) {
        std::optional<GuestPacket> answer = guest_.receive(channel);
        if (answer && answer->transaction_id == 0 &&
            operation_of(*answer) == static_cast<std::uint32_t>(Operation::enumerate_bus)) {
            ++rescans_;
            continue;
        }
        if (answer && answer->transaction_id != packet.transaction_id) {
            return std::nullopt;
        }
        return answer;
    }
}

std::optional<std::uint32_t> StorageGuest::ask(
    Channel& channel, Operation operation, std::uint64_t first_body_word) {
    const auto answer = exchange(channel, packet_of(operation, first_body_word));
    if (!answer || operation_of(*answer) != static_cast<std::uint32_t>(Operation::complete_io)) {
        return std::nullopt;
    }
    return status_of(*answer);
}

std::optional<std::uint16_t> StorageGuest::initialize(Channel& channel) {
    if (ask(channel, Operation::begin_initialization) != 0U ||
        ask(channel, Operation::query_protocol_version, protocol::version_win10) != 0U) {
        return std::nullopt;
    }
    const auto answer = exchange(channel, packet_of(Operation::query_properties));
    if (!answer || status_of(*answer) != 0) {
        return std::nullopt;
    }
    const protocol::Packet packet = packet_in(*answer);
    protocol::ChannelProperties properties{};
    std::memcpy(&properties, packet.body.data(), sizeof(properties));
    if (ask(channel, Operation::end_initialization) != 0U) {
        return std::nullopt;
    }
    return properties.sub_channel_count;
}

void StorageGuest::give_buffer(GuestCommand& command, std::size_t length) {
    const std::size_t count = (offset_ + length + page_size - 1) / page_size;
    if (pages_.size() < count) {
        const auto more = vm_.test_memory().allocate(count - pages_.size());
        pages_.insert(pages_.end(), more.begin(), more.end());
    }
    command.offset = offset_;
    command.length = static_cast<std::uint32_t>(length);
    command.pages.assign(pages_.begin(), pages_.begin() + static_cast<std::ptrdiff_t>(count));
}

std::uint8_t* StorageGuest::byte(const GuestCommand& command, std::size_t index) {
    const std::size_t at = command.offset + index;
    return vm_.memory().page(command.pages.at(at / page_size)) + at % page_size;
}

void StorageGuest::copy_in(const GuestCommand& command, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        *byte(command, i) = data[i];
    }
}

void StorageGuest::copy_out(const GuestCommand& command, std::span<std::uint8_t> data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        data[i] = *byte(command, i);
    }
}

std::optional<ScsiResult> StorageGuest::run(Channel& channel, std::uint8_t lun, const Cdb& cdb) {
    GuestCommand command;
    command.lun = lun;
    command.cdb = cdb;
    const auto answer = exchange(channel, command.packet());
    return answer ? std::optional(result_of(*answer)) : std::nullopt;
}

std::optional<ScsiResult> StorageGuest::read(
    Channel& channel, std::uint8_t lun, const Cdb& cdb, std::span<std::uint8_t> data) {
    GuestCommand command;
    command.lun = lun;
    command.cdb = cdb;
    command.direction = protocol::data_in;
    give_buffer(command, data.size());
    copy_in(command, std::vector<std::uint8_t>(data.size(), 0xee));
    const auto answer = exchange(channel, command.packet());
    copy_out(command, data);
    return answer ? std::optional(result_of(*answer)) : std::nullopt;
}

std::optional<ScsiResult> StorageGuest::write(
    Channel& channel, std::uint8_t lun, const Cdb& cdb, std::span<const std::uint8_t> data) {
    GuestCommand command;
    command.lun = lun;
    command.cdb = cdb;
    command.direction = protocol::data_out;
    give_buffer(command, data.size());
    copy_in(command, data);
    const auto answer = exchange(channel, command.packet());
    return answer ? std::optional(result_of(*answer)) : std::nullopt;
}

} // namespace croft::vsp::storage::testing
