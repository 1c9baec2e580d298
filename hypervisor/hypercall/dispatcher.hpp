// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace hypervisor {

class VirtualProcessor;

namespace hypercall {

/// Carries out the hypercall that the virtual processor asks for, and goes on behind its
/// instruction.
void dispatch(VirtualProcessor& vp, unsigned instruction_length);

} // namespace hypercall

} // namespace hypervisor
