// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/memory/address.hpp"

namespace hypervisor::svm {

/// Fills the maps, once (AMD64 APM vol. 2, 15.10.1 and 15.11).
void initialise_permission_maps();

/// I/O ports: a child's all intercepted, the root's all passed through.
SpaPage io_permissions(bool is_root);
/// MSRs: those that the VMCB or VMLOAD switches are passed through, all others intercepted.
SpaPage msr_permissions();

} // namespace hypervisor::svm
