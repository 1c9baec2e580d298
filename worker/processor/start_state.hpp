// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/virtual_processor.hpp"
#include "worker/loader/boot_image.hpp"
#include "worker/memory/guest_memory.hpp"

namespace croft::worker {

/// Puts the first processor to where a loaded kernel begins, and into memory the descriptor table
/// that its segments come from. Errors: HypervisorError.
void set_start_state(hv::VirtualProcessor& processor, const BootEntry& entry, GuestMemory& memory);

} // namespace croft::worker
