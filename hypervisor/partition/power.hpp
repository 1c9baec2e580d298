// SPDX-License-Identifier: Apache-2.0
// Switching the machine off, as the root has said how, and the sleep states that it may not enter
// by itself (ACPI 6.4, 4.8.3.2).
#pragma once

#include "hypervisor/partition/sleep_request.hpp"

#include <cstdint>

namespace hypervisor::power {

/// Where the PM1 control registers are, from the FADT: 0 where there is none. The root's accesses
/// of them are intercepted from then on.
void set_control_ports(std::uint16_t pm1a, std::uint16_t pm1b);
/// The values of SLP_TYP that mean S5, from the root's interpreter.
void set_off_types(std::uint8_t pm1a, std::uint8_t pm1b);
[[noreturn]] void off();

/// What the root writes to a port that is intercepted: it goes to the port, unless it asks for
/// sleep and has said which type is S5. That is entered; all others are refused with a line in the
/// log, since the machine would wake up without the hypervisor.
void write(const PortWrite& what);
/// \return what the port says, in the low bytes.
std::uint32_t read(std::uint16_t port, unsigned size);

} // namespace hypervisor::power
