// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/protocol/guid.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

// What a storage driver and its provider send each other (Linux, drivers/scsi/storvsc_drv.c, struct
// vstor_packet and what it holds; OpenVMM, storvsp_protocol/src/lib.rs). All numbers are little
// endian.
namespace croft::vsp::storage::protocol {

/// The interface type of a SCSI controller (Linux, include/linux/hyperv.h, HV_SCSI_GUID).
inline constexpr vmbus::Guid scsi_interface =
    vmbus::Guid::of(0xba6163d9, 0x04a1, 0x4d29, {0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f});

/// VSTOR_OPERATION_…
enum class Operation : std::uint32_t {
    complete_io = 1,
    remove_device = 2,
    execute_srb = 3,
    reset_lun = 4,
    reset_adapter = 5,
    reset_bus = 6,
    begin_initialization = 7,
    end_initialization = 8,
    query_protocol_version = 9,
    query_properties = 10,
    enumerate_bus = 11,
    fchba_data = 12,
    create_sub_channels = 13,
};

// NTSTATUS values; guests tell success, which is 0, from the rest.
constexpr std::uint32_t status_success = 0;
constexpr std::uint32_t status_invalid_parameter = 0xc000000d;
constexpr std::uint32_t status_revision_mismatch = 0xc0000059;
constexpr std::uint32_t status_device_does_not_exist = 0xc00000c0;
constexpr std::uint32_t status_invalid_device_state = 0xc0000184;
constexpr std::uint32_t status_io_device_error = 0xc0000185;

/// VMSTOR_PROTO_VERSION
constexpr std::uint16_t make_version(std::uint8_t major, std::uint8_t minor) {
    return static_cast<std::uint16_t>(major << 8 | minor);
}
constexpr std::uint16_t version_win8 = make_version(5, 1);
constexpr std::uint16_t version_win8_1 = make_version(6, 0);
constexpr std::uint16_t version_win10 = make_version(6, 2);

struct PacketHeader {
    std::uint32_t operation; // Operation
    /// Bit 0: the sender wants a completion.
    std::uint32_t flags;
    std::uint32_t status;
};
static_assert(sizeof(PacketHeader) == 12);

constexpr std::size_t cdb_size = 16;
constexpr std::size_t sense_size = 20;

// Where a command's data goes, as its sender says.
constexpr std::uint8_t data_out = 0;
constexpr std::uint8_t data_in = 1;
constexpr std::uint8_t data_unspecified = 2;

// The status of an SRB, and a flag beside it (SRB_STATUS_…).
constexpr std::uint8_t srb_success = 0x01;
constexpr std::uint8_t srb_error = 0x04;
constexpr std::uint8_t srb_invalid_lun = 0x20;
constexpr std::uint8_t srb_autosense_valid = 0x80;

/// struct vmscsi_request
struct ScsiRequest {
    std::uint16_t length;
    std::uint8_t srb_status;
    std::uint8_t scsi_status;
    std::uint8_t port;
    std::uint8_t path;
    std::uint8_t target;
    std::uint8_t lun;
    std::uint8_t cdb_length;
    std::uint8_t sense_length;
    std::uint8_t direction; // data_…
    std::uint8_t reserved;
    std::uint32_t data_length;
    /// The CDB, and in the completion the sense data.
    std::array<std::uint8_t, sense_size> payload;
    // What follows came with Windows 8.
    std::uint16_t reserved_too;
    std::uint8_t queue_tag;
    std::uint8_t queue_action;
    std::uint32_t srb_flags;
    std::uint32_t timeout;
    std::uint32_t queue_sort_key;
};
static_assert(sizeof(ScsiRequest) == 52);

constexpr std::uint32_t channel_supports_multi_channel = 1;

/// struct vmstorage_channel_properties
struct ChannelProperties {
    std::uint32_t reserved;
    std::uint16_t sub_channel_count;
    std::uint16_t reserved_too;
    std::uint32_t flags;
    std::uint32_t transfer_bytes;
    std::array<std::uint32_t, 2> reserved_three;
};
static_assert(sizeof(ChannelProperties) == 24);

constexpr std::size_t body_size = sizeof(ScsiRequest);

/// struct vstor_packet; what the body is follows from the operation.
struct Packet {
    PacketHeader header;
    std::array<std::uint8_t, body_size> body;
};
static_assert(sizeof(Packet) == 64);

/// A guest that hasn't negotiated a version yet may leave out what came with Windows 8, as older
/// Linux does (vmscsi_size_delta).
constexpr std::size_t smallest_packet = sizeof(Packet) - 16;

} // namespace croft::vsp::storage::protocol
