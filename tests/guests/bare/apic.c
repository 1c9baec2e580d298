/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guests/bare/internal.h"

#define MSR_APIC_BASE 0x1bu
#define APIC_BASE_ENABLE (1u << 11)
#define APIC_BASE_X2APIC (1u << 10)
#define MSR_X2APIC_FIRST 0x800u
#define SPURIOUS_VECTOR 0xffu
#define SPURIOUS_ENABLE (1u << 8)
#define COMMAND_PENDING (1u << 12)
#define CPUID_ECX_X2APIC (1u << 21)

bool bare_uses_x2apic;

bool bare_enable_apic(bool x2apic) {
    const bool has_x2apic = (bare_cpuid(1, 0).ecx & CPUID_ECX_X2APIC) != 0;
    bare_uses_x2apic = x2apic && has_x2apic;
    uint64_t base = bare_read_msr(MSR_APIC_BASE) | APIC_BASE_ENABLE;
    bare_write_msr(MSR_APIC_BASE, base);
    if (bare_uses_x2apic) {
        bare_write_msr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
    }
    bare_write_apic(BARE_APIC_SPURIOUS, SPURIOUS_ENABLE | SPURIOUS_VECTOR);
    bare_write_apic(BARE_APIC_TPR, 0);
    return bare_uses_x2apic;
}

uint32_t bare_read_apic(unsigned number) {
    return bare_uses_x2apic ? (uint32_t)bare_read_msr(MSR_X2APIC_FIRST + number)
                            : bare_read_mmio(BARE_APIC_BASE + number * 16);
}

void bare_write_apic(unsigned number, uint32_t value) {
    if (bare_uses_x2apic) {
        bare_write_msr(MSR_X2APIC_FIRST + number, value);
    } else {
        bare_write_mmio(BARE_APIC_BASE + number * 16, value);
    }
}

void bare_send(uint32_t apic_id, uint32_t low) {
    if (bare_uses_x2apic) {
        bare_write_msr(MSR_X2APIC_FIRST + BARE_APIC_COMMAND, (uint64_t)apic_id << 32 | low);
        return;
    }
    bare_write_apic(BARE_APIC_COMMAND + 1, apic_id << 24);
    bare_write_apic(BARE_APIC_COMMAND, low);
    while ((bare_read_apic(BARE_APIC_COMMAND) & COMMAND_PENDING) != 0) {
    }
}
