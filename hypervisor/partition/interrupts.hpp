// SPDX-License-Identifier: Apache-2.0
// Interrupt messages between the virtual processors of a partition, and from outside to them.
#pragma once

#include "hypervisor/apic/interrupt_command.hpp"
#include "hypervisor/apic/virtual_local_apic.hpp"

namespace hypervisor {

class Partition;
class VirtualProcessor;

namespace interrupts {

/// Carries out what a virtual processor has written to its interrupt command register.
void send(VirtualProcessor& from, const InterruptCommand& command);
/// A message from outside, as an I/O APIC or a device sends it. \return whether any virtual
/// processor was meant.
bool send(Partition& to, const InterruptCommand& command);
/// A virtual processor has ended an interrupt: level-triggered ones concern others.
void ended(VirtualProcessor& vp, const EndOfInterrupt& end);

} // namespace interrupts

} // namespace hypervisor
