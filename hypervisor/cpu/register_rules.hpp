// SPDX-License-Identifier: Apache-2.0
// What a register of a guest may hold. A processor that enters a guest, or loads what entering does
// not, refuses some values: those must never get so far.
#pragma once

#include "abi/register.h"
#include "hypervisor/cpu/virtual_cpu.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace hypervisor {

/// What this machine's processors leave open.
struct RegisterRules {
    unsigned physical_bits = 36;
    std::uint64_t cr4_allowed = 0;
    std::uint64_t efer_allowed = 0;
    std::uint64_t xcr0_allowed = 1;

    /// \param xcr0_allowed states that guests may use; 0 without XSAVE.
    static RegisterRules of_this_machine(std::uint64_t xcr0_allowed);

    /// One register for itself. How several go together the processor says when it enters the
    /// guest, by the exit for an invalid state.
    [[nodiscard]] bool allow(CpuRegister which, std::uint64_t value) const;
};

/// Those of this machine; set once, before the first guest runs.
const RegisterRules& register_rules();
void set_register_rules(const RegisterRules& rules);

/// Whether bits 63..47 are alike.
constexpr bool is_canonical(std::uint64_t address) {
    constexpr std::uint64_t upper = ~std::uint64_t{0} << 47;
    return (address & upper) == 0 || (address & upper) == upper;
}
[[nodiscard]] bool is_valid_segment(const hv_x64_segment_register& value);
[[nodiscard]] bool is_valid_table(const hv_x64_table_register& value);
[[nodiscard]] bool is_valid_xcr0(std::uint64_t value, std::uint64_t allowed);
[[nodiscard]] bool is_valid_pat(std::uint64_t value);
/// \param mask the bits that this machine's processors have (the area's MXCSR_MASK).
constexpr bool is_valid_mxcsr(std::uint32_t value, std::uint32_t mask) {
    return (value & ~mask) == 0;
}
/// An image of either form of XSAVE, which XRSTOR takes without a fault; without XSAVE, of FXSAVE.
[[nodiscard]] bool is_valid_extended_state(
    std::span<const std::byte> area, std::uint64_t states, std::uint32_t mxcsr_mask);
/// Whether an event can be delivered on entry.
[[nodiscard]] bool is_valid_event(const CpuEvent& event);

} // namespace hypervisor
