// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/memory/address.hpp"

#include <cstdint>

namespace hypervisor::svm {

/// Bytes that the maps take.
inline constexpr std::uint64_t permission_maps_size = 10 * page_size;
/// Fills the maps, once (AMD64 APM vol. 2, 15.10.1 and 15.11). \param memory for them: zeroed,
/// contiguous whole pages.
void initialise_permission_maps(SpaPage memory);

/// Takes ports out of those that are passed through to the root.
void intercept_root_ports(std::uint16_t first, std::uint16_t count);
/// I/O ports: a child's all intercepted, the root's passed through but for those above.
SpaPage io_permissions(bool is_root);
/// MSRs: those that the VMCB or VMLOAD switches are passed through, if not all are to be
/// intercepted, all others never.
SpaPage msr_permissions(bool intercept_all);

} // namespace hypervisor::svm
