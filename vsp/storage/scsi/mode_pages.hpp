// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/storage/scsi/outcome.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace croft::vsp::storage::scsi {

/// A mode page as it is now: page code, length and what follows.
using ModePage = std::vector<std::uint8_t>;

/// What MODE SENSE (6) or (10) answers. None of the pages can be changed. Errors: no such page or
/// subpage, or saved values, which there are none of.
[[nodiscard]] Answer mode_sense(
    const Cdb& cdb, std::uint8_t device_specific, std::span<const ModePage> pages);

/// Caching (SBC-3 6.5.5): what isn't flushed may be lost.
[[nodiscard]] ModePage caching_page();
/// Control (SPC-4 7.5.8)
[[nodiscard]] ModePage control_page();
/// Informational exceptions control (SPC-4 7.5.12)
[[nodiscard]] ModePage informational_exceptions_page();
/// Read/write error recovery (MMC-6 7.3)
[[nodiscard]] ModePage error_recovery_page();
/// CD capabilities (MMC-3 5.5.10), which Linux's driver goes by
[[nodiscard]] ModePage capabilities_page(bool locked);

// Of a block device's device-specific parameter (SBC-3 6.5.1).
constexpr std::uint8_t device_write_protected = 0x80;
constexpr std::uint8_t device_dpofua = 0x10;

} // namespace croft::vsp::storage::scsi
