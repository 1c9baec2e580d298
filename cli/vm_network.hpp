// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

namespace croft::cli {

// The network adapter that a VM has if nobody says otherwise, in croft-worker's words: one on the
// host's ready-made network (croft-network(8)). None while that is down, and for users who may not
// make a TAP device.
std::optional<std::string> default_adapter(const std::string& vm_name);

} // namespace croft::cli
