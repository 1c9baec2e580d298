// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hypervisor::descriptor_tables {

inline constexpr std::uint16_t code_selector = 0x18; ///< as in the table that the image boots with

/// Fills the interrupt descriptor table, once.
void initialise();
/// Loads it on this processor.
void load();

} // namespace hypervisor::descriptor_tables
