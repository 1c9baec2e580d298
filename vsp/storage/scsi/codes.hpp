// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Numbers of SPC-4, SBC-3 and MMC-6.
namespace croft::vsp::storage::scsi {

// Bits of VERIFY's second byte: BYTCHK.
constexpr std::uint8_t verify_byte_check = 0x06;

enum class OperationCode : std::uint8_t {
    test_unit_ready = 0x00,
    request_sense = 0x03,
    read_6 = 0x08,
    write_6 = 0x0a,
    inquiry = 0x12,
    mode_sense_6 = 0x1a,
    start_stop_unit = 0x1b,
    prevent_allow_medium_removal = 0x1e,
    read_capacity_10 = 0x25,
    read_10 = 0x28,
    write_10 = 0x2a,
    verify_10 = 0x2f,
    synchronize_cache_10 = 0x35,
    write_same_10 = 0x41,
    unmap = 0x42,
    read_toc = 0x43,
    get_configuration = 0x46,
    get_event_status_notification = 0x4a,
    read_disc_information = 0x51,
    mode_sense_10 = 0x5a,
    read_16 = 0x88,
    write_16 = 0x8a,
    verify_16 = 0x8f,
    synchronize_cache_16 = 0x91,
    write_same_16 = 0x93,
    service_action_in_16 = 0x9e,
    report_luns = 0xa0,
    read_12 = 0xa8,
    write_12 = 0xaa,
    verify_12 = 0xaf,
};

/// Of SERVICE ACTION IN (16).
constexpr std::uint8_t read_capacity_16 = 0x10;

// Status codes (SAM-5).
constexpr std::uint8_t status_good = 0x00;
constexpr std::uint8_t status_check_condition = 0x02;

// Peripheral device types.
constexpr std::uint8_t type_block = 0x00;
constexpr std::uint8_t type_multimedia = 0x05;
/// Peripheral qualifier 3 with the type "none": the target can't have a unit there.
constexpr std::uint8_t type_no_unit = 0x7f;

} // namespace croft::vsp::storage::scsi
