// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/virtual_cpu.hpp"

namespace hypervisor {

class VirtualProcessor;

/// Does what a guest's exit asks for: answers it, or makes an intercept of it for the parent.
void handle_exit(VirtualProcessor& vp, const Exit& exit);

} // namespace hypervisor
