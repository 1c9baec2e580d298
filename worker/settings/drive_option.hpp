// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/settings/settings.hpp"

#include <string>

namespace croft::worker {

/// A disk from its option, FILE[,raw|vhd|vhdx][,read-only][,serial=TEXT]. Words after a comma that
/// aren't known stay in the path, which may have commas too.
[[nodiscard]] DriveSettings parse_disk_option(std::string text);

/// A DVD drive from its option, FILE or "none".
[[nodiscard]] DriveSettings parse_dvd_option(const std::string& text);

} // namespace croft::worker
