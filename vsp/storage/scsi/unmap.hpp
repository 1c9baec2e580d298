// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/storage/scsi/outcome.hpp"

#include <cstdint>
#include <expected>
#include <span>
#include <vector>

namespace croft::vsp::storage::scsi {

/// The ranges in UNMAP's parameter list (SBC-3 5.28.2), without empty ones. `block_count` is how
/// many the unit has.
[[nodiscard]] std::expected<std::vector<Blocks>, Sense> parse_unmap(
    std::span<const std::uint8_t> parameters, std::uint64_t block_count);

} // namespace croft::vsp::storage::scsi
