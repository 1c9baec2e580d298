// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/virtual_cpu.hpp"

namespace hypervisor {

class VirtualProcessor;

/// An access to guest physical memory that the address space does not allow: the local APIC's page,
/// a doorbell, or something for the parent.
void handle_memory_fault(VirtualProcessor& vp, const Exit& exit);

} // namespace hypervisor
