// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/reply.hpp"

#include "vsp/storage/scsi/codes.hpp"

#include <algorithm>
#include <bit>

namespace croft::vsp::storage {

namespace {

protocol::Packet scsi_reply(std::uint32_t status, protocol::ScsiRequest scsi) {
    scsi.length = sizeof(scsi);
    scsi.cdb_length = protocol::cdb_size;
    protocol::Packet packet;
    packet.body = std::bit_cast<std::array<std::uint8_t, protocol::body_size>>(scsi);
    return status_reply(status, packet);
}

} // namespace

protocol::Packet status_reply(std::uint32_t status, const protocol::Packet& packet) {
    protocol::Packet reply = packet;
    reply.header = {static_cast<std::uint32_t>(protocol::Operation::complete_io), 0, status};
    return reply;
}

protocol::Packet good_reply(std::uint32_t transferred) {
    protocol::ScsiRequest scsi{};
    scsi.srb_status = protocol::srb_success;
    scsi.data_length = transferred;
    return scsi_reply(protocol::status_success, scsi);
}

protocol::Packet sense_reply(const scsi::Sense& sense, std::uint8_t room) {
    const auto bytes = scsi::fixed_format(sense);
    protocol::ScsiRequest scsi{};
    scsi.scsi_status = scsi::status_check_condition;
    scsi.srb_status = protocol::srb_error | (room != 0 ? protocol::srb_autosense_valid : 0);
    scsi.sense_length = std::min(room, static_cast<std::uint8_t>(bytes.size()));
    std::copy_n(bytes.begin(), scsi.sense_length, scsi.payload.begin());
    return scsi_reply(protocol::status_io_device_error, scsi);
}

protocol::Packet no_unit_reply() {
    protocol::ScsiRequest scsi{};
    scsi.scsi_status = scsi::status_check_condition;
    scsi.srb_status = protocol::srb_invalid_lun;
    return scsi_reply(protocol::status_device_does_not_exist, scsi);
}

} // namespace croft::vsp::storage
