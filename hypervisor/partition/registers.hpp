// SPDX-License-Identifier: Apache-2.0
// A virtual processor's registers by their names in the interface (TLFS "HV_REGISTER_NAME").
#pragma once

#include "abi/register.h"
#include "hypervisor/hypercall/status.hpp"

#include <cstdint>

namespace hypervisor {

class VirtualProcessor;

/// The virtual processor is held, or it is the one that runs here and has been saved.
Status get_register(VirtualProcessor& vp, std::uint32_t name, hv_register_value& value);
Status set_register(VirtualProcessor& vp, std::uint32_t name, const hv_register_value& value);

} // namespace hypervisor
