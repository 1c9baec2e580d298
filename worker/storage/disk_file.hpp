// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/disk.hpp"
#include "worker/settings/settings.hpp"

#include <memory>

namespace croft::worker {

/// Opens what a drive's settings name, past the page cache where the file system can do that.
/// Errors: SystemError.
[[nodiscard]] std::unique_ptr<disk::Disk> open_disk(const DriveSettings& drive);

} // namespace croft::worker
