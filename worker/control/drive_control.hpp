// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/storage/storage_device.hpp"

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace croft::worker {

/// The commands of the control socket that are about a VM's drives, while its guest runs or is
/// paused:
///
///     drives                               what there is
///     add-drive {"drive": {…}}             as in the settings; answers its LUN
///     remove-drive {"lun": …}
///     resize-drive {"lun": …, "size": …}   bytes, or text as "20G"; disks become larger only
///     change-disc {"lun": …, "path": …}    of a DVD drive; no path, or an empty one, takes it out
///
/// Nothing if it is another command. Errors: SettingsError, SystemError, DeviceError.
[[nodiscard]] std::optional<nlohmann::json> control_drives(
    StorageDevice& storage, const std::string& command, const nlohmann::json& request);

/// As in the settings, with the size of each.
[[nodiscard]] nlohmann::json list_drives(const StorageDevice& storage);

} // namespace croft::worker
