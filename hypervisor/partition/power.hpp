// SPDX-License-Identifier: Apache-2.0
// Switching the machine off, as the root has said how (ACPI 6.4, 4.8.3.2).
#pragma once

#include <cstdint>

namespace hypervisor::power {

/// Where the PM1 control registers are, from the FADT.
void set_control_ports(std::uint16_t pm1a, std::uint16_t pm1b);
/// The values of SLP_TYP that mean S5, from the root's interpreter.
void set_off_types(std::uint8_t pm1a, std::uint8_t pm1b);
[[noreturn]] void off();

} // namespace hypervisor::power
