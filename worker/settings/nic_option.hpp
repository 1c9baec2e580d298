// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/settings/settings.hpp"

#include <string>

namespace croft::worker {

/// A network adapter from its option,
/// tap=NAME[,bridge=NAME][,mac=ADDRESS][,mtu=BYTES][,queues=COUNT][,number=NUMBER]
/// [,process=worker|own]. Errors: SettingsError for other words.
[[nodiscard]] NicSettings parse_nic_option(const std::string& text);

} // namespace croft::worker
