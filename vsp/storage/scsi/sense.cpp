// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/scsi/sense.hpp"

#include "vsp/storage/scsi/big_endian.hpp"

#include <cerrno>

namespace croft::vsp::storage::scsi {

namespace {

constexpr std::uint8_t response_current = 0x70;
constexpr std::uint8_t information_valid = 0x80;
constexpr std::size_t information_offset = 3;

Sense at_block(Sense sense, std::optional<std::uint64_t> block) {
    sense.block = block;
    return sense;
}

/// The file or device itself has gone, not a part of it.
bool is_gone(const disk::Status& status) {
    return status.code == disk::ErrorCode::not_found || status.os_error == ENODEV ||
        status.os_error == ENXIO || status.os_error == ESTALE;
}

} // namespace

std::array<std::uint8_t, fixed_sense_size> fixed_format(const Sense& sense) {
    std::array<std::uint8_t, fixed_sense_size> bytes{};
    bytes[0] = response_current;
    bytes[2] = sense.key;
    if (sense.block && *sense.block <= 0xffffffff) {
        bytes[0] |= information_valid;
        put_be(bytes, information_offset, 4, *sense.block);
    }
    bytes[7] = fixed_sense_size - 8;
    bytes[12] = sense.code;
    bytes[13] = sense.qualifier;
    return bytes;
}

Sense sense_of(disk::Status status, disk::Operation operation, std::optional<std::uint64_t> block) {
    using disk::ErrorCode;
    if (is_gone(status)) {
        return medium_not_present;
    }
    switch (status.code) {
    case ErrorCode::none:
        return no_sense;
    case ErrorCode::io:
    case ErrorCode::corrupt:
        return at_block(
            operation == disk::Operation::read ? unrecovered_read_error : write_error, block);
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
