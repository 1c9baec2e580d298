// SPDX-License-Identifier: Apache-2.0
// What the tests of a virtual local APIC share.
#pragma once

#include "hypervisor/apic/virtual_local_apic.hpp"

#include <gtest/gtest.h>

namespace hypervisor {

inline constexpr ApicTime start{.bus = 1000, .tsc = 5000};
inline constexpr std::uint32_t software_enable = apic_spurious::software_enable | 0xFF;
inline constexpr std::uint64_t base_xapic = apic_base::address | apic_base::enabled;
inline constexpr std::uint64_t base_x2apic = base_xapic | apic_base::extended;

inline ApicTime bus(std::uint64_t ticks) {
    return {.bus = ticks, .tsc = 0};
}

inline LocalApicEffect write(
    VirtualLocalApic& apic, ApicRegister which, std::uint32_t value, ApicTime now = start) {
    return apic.write(apic_offset(which), value, now);
}

inline std::uint32_t read(VirtualLocalApic& apic, ApicRegister which, ApicTime now = start) {
    return apic.read(apic_offset(which), now);
}

/// Software-enabled, of ID 3.
struct Enabled {
    VirtualLocalApic apic{3, false, {.x2apic = true, .tsc_deadline = true}};
    Enabled() { write(apic, ApicRegister::spurious_vector, software_enable); }
};

struct Extended : Enabled {
    Extended() { EXPECT_TRUE(apic.write_base(base_x2apic)); }
};

inline std::uint32_t read_errors(VirtualLocalApic& apic) {
    if (apic.mode() == VirtualLocalApic::Mode::x2apic) {
        EXPECT_TRUE(apic.write_msr(apic_msr(ApicRegister::error_status), 0, start));
        return std::uint32_t(apic.read_msr(apic_msr(ApicRegister::error_status), start).value());
    }
    write(apic, ApicRegister::error_status, 0);
    return read(apic, ApicRegister::error_status);
}

} // namespace hypervisor
