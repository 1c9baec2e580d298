// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/svm/svm_virtual_cpu.hpp"

namespace hypervisor {

/// The implementation of VirtualCpu that this image is for. An image is for one: every exit asks it
/// for a dozen things, and a call through the interface would take as long as its answer.
using NativeCpu = svm::SvmVirtualCpu;

} // namespace hypervisor
