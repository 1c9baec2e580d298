// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace croft::cli {

// The network adapter that a VM gets if nobody says otherwise, in croft-worker's words: one on the
// host's ready-made network (croft-network(8)). None while that is down, and for users who may not
// make a TAP device. `number` is the adapter's in the VM.
std::optional<std::string> default_adapter(const std::string& vm_name, std::uint32_t number = 0);

} // namespace croft::cli
