// SPDX-License-Identifier: Apache-2.0
// A virtual processor's registers by their names in the interface (TLFS "HV_REGISTER_NAME").
#pragma once

#include "abi/register.h"
#include "hypervisor/hypercall/status.hpp"
#include "hypervisor/partition/named.hpp"

#include <cstdint>
#include <span>

namespace hypervisor {

class VirtualProcessor;

/// The virtual processor is held, or it is the one that runs here and has been saved.
Status get_register(VirtualProcessor& vp, std::uint32_t name, hv_register_value& value);
Status set_register(VirtualProcessor& vp, std::uint32_t name, const hv_register_value& value);

/// Where registers are; those of a row side by side, if nothing else is said.
enum class RegisterWay : std::uint8_t {
    general,  ///< in VirtualCpu::gpr
    cpu,      ///< a CpuRegister
    segment,  ///< a SegmentName
    table,    ///< a TableName
    extended, ///< 16 bytes each in the legacy region of the extended state
    msr,      ///< as the MSR, with what its accesses do
    pair,     ///< as every other MSR
};

/// One register, or several side by side.
struct PlacedRegister {
    std::uint32_t first;
    std::uint32_t last;
    [[no_unique_address]] Name name;
    RegisterWay way;
    std::uint32_t place; ///< of the first: index, enumerator, offset or number
};

/// One register that is nowhere as it is told.
struct OwnRegister {
    std::uint32_t first;
    std::uint32_t last;
    [[no_unique_address]] Name name;
    void (*read)(VirtualProcessor& vp, hv_register_value& value); ///< `value` is zero before
    Status (*write)(VirtualProcessor& vp, const hv_register_value& value); ///< null: none
};

/// All that there are.
extern const std::span<const PlacedRegister> placed_registers;
extern const std::span<const OwnRegister> own_registers;

} // namespace hypervisor
