// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/network/network.hpp"

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace croft::worker {

/// The commands of the control socket that are about a VM's network adapters, while its guest runs
/// or is paused:
///
///     nics                                 what there is
///     add-nic {"nic": {…}}                 as in the settings; answers its number
///     remove-nic {"number": …}
///     link {"number": …, "up": …}          plugs its cable in or out
///
/// Nothing if it is another command. Errors: SettingsError, SystemError.
[[nodiscard]] std::optional<nlohmann::json> control_nics(
    Network& network, const std::string& command, const nlohmann::json& request);

/// As in the settings, with what those left open.
[[nodiscard]] nlohmann::json list_nics(const Network& network);

} // namespace croft::worker
