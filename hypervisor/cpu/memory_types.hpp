// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace hypervisor::memory_types {

/// Remembers the memory type ranges that the firmware has set on this processor.
void remember();
/// Sets the same on this one: all must agree (SDM vol. 3, 12.11.8), and firmware may have set those
/// of the first processor only.
void apply();

} // namespace hypervisor::memory_types
