// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/scsi/sense.hpp"

#include <cerrno>

namespace croft::vsp::storage::scsi {

namespace {

/// The file or device itself has gone, not a part of it.
bool is_gone(const disk::Status& status) {
    return status.code == disk::ErrorCode::not_found || status.os_error == ENODEV ||
        status.os_error == ENXIO || status.os_error == ESTALE;
}

} // namespace

std::array<std::uint8_t, fixed_sense_size> fixed_format(const Sense& sense) {
    std::array<std::uint8_t, fixed_sense_size> bytes{};
    bytes[0] = 0x70; // of the current command
    bytes[2] = sense.key;
    bytes[7] = fixed_sense_size - 8;
    bytes[12] = sense.code;
    bytes[13] = sense.qualifier;
    return bytes;
}

Sense sense_of(disk::Status status, disk::Operation operation) {
    using disk::ErrorCode;
    if (is_gone(status)) {
        return medium_not_present;
    }
    switch (status.code) {
    case ErrorCode::none:
        return no_sense;
    case ErrorCode::io:
    case ErrorCode::corrupt:
        return operation == disk::Operation::read ? unrecovered_read_error : write_error;
    case ErrorCode::no_space:
        return space_allocation_failed;
    case ErrorCode::read_only:
        return write_protected;
    case ErrorCode::out_of_range:
        return lba_out_of_range;
    case ErrorCode::misaligned:
        return invalid_field_in_cdb;
    case ErrorCode::cancelled:
        return command_aborted;
    default:
        return internal_target_failure;
    }
}

} // namespace croft::vsp::storage::scsi
