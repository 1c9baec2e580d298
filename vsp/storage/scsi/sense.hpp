// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/error.hpp"
#include "disk/request.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace croft::vsp::storage::scsi {

/// Why a command failed (SPC-4 4.5): sense key, additional sense code and its qualifier.
struct Sense {
    std::uint8_t key = 0;
    std::uint8_t code = 0;
    std::uint8_t qualifier = 0;
    /// INFORMATION: of a medium error, the first block that has one, if that is known.
    std::optional<std::uint64_t> block = {};

    friend bool operator==(const Sense&, const Sense&) = default;
};

constexpr Sense no_sense{};
constexpr Sense medium_not_present{0x02, 0x3a, 0x00};
constexpr Sense medium_not_present_tray_open{0x02, 0x3a, 0x02};
constexpr Sense write_error{0x03, 0x0c, 0x00};
constexpr Sense unrecovered_read_error{0x03, 0x11, 0x00};
constexpr Sense internal_target_failure{0x04, 0x44, 0x00};
constexpr Sense parameter_list_length_error{0x05, 0x1a, 0x00};
constexpr Sense invalid_command_operation_code{0x05, 0x20, 0x00};
constexpr Sense lba_out_of_range{0x05, 0x21, 0x00};
constexpr Sense invalid_field_in_cdb{0x05, 0x24, 0x00};
constexpr Sense invalid_field_in_parameter_list{0x05, 0x26, 0x00};
constexpr Sense saving_parameters_not_supported{0x05, 0x39, 0x00};
constexpr Sense medium_removal_prevented{0x05, 0x53, 0x02};
constexpr Sense medium_may_have_changed{0x06, 0x28, 0x00};
constexpr Sense capacity_data_has_changed{0x06, 0x2a, 0x09};
constexpr Sense write_protected{0x07, 0x27, 0x00};
constexpr Sense space_allocation_failed{0x07, 0x27, 0x07};
constexpr Sense command_aborted{0x0b, 0x00, 0x00};
constexpr Sense miscompare_during_verify{0x0e, 0x1d, 0x00};

/// Sense data in the fixed format (SPC-4 4.5.3), in which a block's number has 32 bits: of one that
/// has more it says nothing.
constexpr std::size_t fixed_sense_size = 18;
[[nodiscard]] std::array<std::uint8_t, fixed_sense_size> fixed_format(const Sense& sense);

/// What the guest is told of a request that failed in the host, at that block if it is known.
[[nodiscard]] Sense sense_of(disk::Status status, disk::Operation operation,
    std::optional<std::uint64_t> block = std::nullopt);

} // namespace croft::vsp::storage::scsi
