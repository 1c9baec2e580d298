// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace croft::vsp::storage::scsi {

/// Of one command's data, and of what VERIFY reads, in bytes.
constexpr std::uint32_t largest_transfer = 1U << 20U;
/// Of WRITE SAME, in blocks: what a host without a quick way to write zeros does in one go.
constexpr std::uint32_t largest_write_same = 1U << 16U;
/// Ranges in one UNMAP.
constexpr std::uint32_t most_unmap_ranges = 256;
/// Of the parameters that a command comes with, in bytes: the most are those of UNMAP.
constexpr std::uint32_t largest_parameters = 8 + 16 * most_unmap_ranges;

} // namespace croft::vsp::storage::scsi
