// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/disk.hpp"
#include "vsp/storage/scsi/logical_unit.hpp"

#include <array>
#include <cstdint>
#include <memory>

namespace croft::vsp::storage {

/// What is at a LUN: the unit that answers commands, and the disk that they go on to, if there is
/// one.
struct Drive {
    std::shared_ptr<scsi::LogicalUnit> unit;
    disk::Disk* disk = nullptr;
};

/// LUNs of a controller: as many as Hyper-V's have, all of path 0 and target 0.
constexpr std::uint8_t lun_count = 64;

using Drives = std::array<Drive, lun_count>;

} // namespace croft::vsp::storage
