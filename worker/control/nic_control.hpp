// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/control/commands.hpp"
#include "worker/network/network.hpp"

namespace croft::worker {

/// Adds the commands that are about a VM's network adapters, while its guest runs or is paused:
///
///     nics                                 what there is
///     add-nic {"nic": {…}}                 as in the settings; answers its number
///     remove-nic {"number": …}
///     link {"number": …, "up": …}          plugs its cable in or out
///
/// `network` outlives them. They throw SettingsError, SystemError.
void add_nic_commands(Commands& commands, Network& network);

/// As in the settings, with what those left open.
[[nodiscard]] nlohmann::json list_nics(const Network& network);

} // namespace croft::worker
