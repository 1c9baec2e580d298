// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/disk.hpp"

#include <cstdint>
#include <vector>

namespace croft::vsp::storage::scsi {

/// What READ CAPACITY (10) answers (SBC-3 5.15.2): the last block's address, all ones if it has no
/// room for it.
[[nodiscard]] std::vector<std::uint8_t> capacity_10(const disk::Geometry& geometry);
/// What READ CAPACITY (16) answers (SBC-3 5.16.2).
[[nodiscard]] std::vector<std::uint8_t> capacity_16(const disk::Geometry& geometry);

} // namespace croft::vsp::storage::scsi
