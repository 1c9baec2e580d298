// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/record.hpp"
#include "vsp/storage/channel_state.hpp"
#include "vsp/storage/scsi/logical_unit.hpp"

#include <cstdint>
#include <map>

namespace croft::vsp::storage {

/// What a guest could see of a controller, beside its rings and its disks.
struct ControllerState {
    /// Of the open channels, by index.
    std::map<std::uint16_t, ChannelState> channels;
    /// By LUN.
    std::map<std::uint8_t, scsi::UnitState> units;

    [[nodiscard]] vdev::Record save() const;
    /// Errors: RecordError.
    [[nodiscard]] static ControllerState load(const vdev::Record& record);
};

} // namespace croft::vsp::storage
