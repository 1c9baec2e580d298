// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/request.hpp"

#include "vsp/storage/guest_buffer.hpp"
#include "vsp/storage/scsi/limits.hpp"
#include "vsp/storage/scsi/logical_unit.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace croft::vsp::storage {

namespace {

using Checked = std::expected<void, std::string_view>;

Checked check_fields(const protocol::ScsiRequest& request) {
    if (request.cdb_length > protocol::cdb_size) {
        return std::unexpected("a command is longer than its field");
    }
    if (request.direction > protocol::data_unspecified) {
        return std::unexpected("a command's data goes no way that there is");
    }
    if (request.data_length > scsi::largest_transfer) {
        return std::unexpected("a command has more data than was agreed on");
    }
    return {};
}

bool goes_wrong_way(const protocol::ScsiRequest& request, const scsi::Cdb& cdb) {
    const scsi::Direction direction = scsi::direction_of(cdb);
    return request.data_length != 0 &&
        ((direction == scsi::Direction::to_guest && request.direction == protocol::data_out) ||
            (direction == scsi::Direction::from_guest && request.direction == protocol::data_in));
}

Checked map_data(const vmbus::Packet& packet, const vmbus::GuestPages& memory,
    std::vector<vmbus::PageRange>& ranges, ScsiCommand& command) {
    ranges.clear();
    if (packet.type == vmbus::protocol::PacketType::gpa_direct) {
        if (const auto parsed = vmbus::parse_gpa_direct(packet, ranges); !parsed) {
            return std::unexpected(name_of(parsed.error()));
        }
    } else if (packet.type != vmbus::protocol::PacketType::in_band) {
        return std::unexpected("a command is in a packet of another type");
    }
    if (ranges.size() > 1) {
        return std::unexpected("a command has more than one range");
    }
    const std::uint32_t length = command.request.data_length;
    command.segments.clear();
    if (length == 0) {
        return {};
    }
    if (ranges.empty() || length > ranges.front().byte_count) {
        return std::unexpected("a command has more data than its range");
    }
    if (!map_range(ranges.front(), length, memory, command.segments)) {
        return std::unexpected("a command's data isn't in the guest's memory");
    }
    return {};
}

} // namespace

std::expected<Request, std::string_view> take_request(const vmbus::Packet& packet) {
    if (!packet.completion_requested) {
        return std::unexpected("a packet wants no completion");
    }
    if (packet.payload.size() < protocol::smallest_packet) {
        return std::unexpected("a packet is too short");
    }
    Request request;
    request.transaction_id = packet.transaction_id;
    request.size = std::min(packet.payload.size(), sizeof(request.packet));
    std::memcpy(&request.packet, packet.payload.data(), request.size);
    return request;
}

std::expected<void, std::string_view> take_command(const vmbus::Packet& packet,
    const Request& request, const vmbus::GuestPages& memory, std::vector<vmbus::PageRange>& ranges,
    ScsiCommand& command) {
    command.request = std::bit_cast<protocol::ScsiRequest>(request.packet.body);
    if (const Checked checked = check_fields(command.request); !checked) {
        return checked;
    }
    std::array<std::uint8_t, protocol::cdb_size> bytes{};
    std::copy_n(command.request.payload.begin(), command.request.cdb_length, bytes.begin());
    command.cdb = scsi::Cdb(bytes);
    command.goes_wrong_way = goes_wrong_way(command.request, command.cdb);
    return map_data(packet, memory, ranges, command);
}

} // namespace croft::vsp::storage
