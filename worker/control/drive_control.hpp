// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/control/commands.hpp"
#include "worker/storage/storage_device.hpp"

namespace croft::worker {

/// Adds the commands that are about a VM's drives, while its guest runs or is paused:
///
///     drives                               what there is
///     add-drive {"drive": {…}}             as in the settings; answers its LUN
///     remove-drive {"lun": …}
///     resize-drive {"lun": …, "size": …}   bytes, or text as "20G"; disks become larger only. No
///                                          size is that which the device, or raw file, has now
///     change-disc {"lun": …, "path": …}    of a DVD drive; no path, or an empty one, takes it out
///
/// `storage` outlives them. They throw SettingsError, SystemError, DeviceError.
void add_drive_commands(Commands& commands, StorageDevice& storage);

/// As in the settings, with the size of each.
[[nodiscard]] nlohmann::json list_drives(const StorageDevice& storage);

} // namespace croft::worker
