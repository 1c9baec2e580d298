// SPDX-License-Identifier: Apache-2.0
//
// Small guests for the replays of other people's VMMs.
#include "tests/guests/guest_macros.inc"

        .section .rodata

        // Real mode, from 0x1000: CPUID's answer to 0x40000001 goes out by a port as EAX; what comes in
        // by a port goes on to a device's memory at 0x90000, and what is read there out again.
        .code16
        guest guest_uses_devices
        mov $0x40000001, %eax
        cpuid
        mov $0x99, %dx
        out %eax, %dx
        mov $0x60, %dx
        in %dx, %al
        mov $0x9000, %bx
        mov %bx, %ds
        mov %al, 0x10
        mov 0x20, %cl
        mov $0x99, %dx
        mov %cl, %al
        out %al, %dx
        hlt
        end_guest guest_uses_devices

        // Real mode: takes an interrupt of vector 0x40, by x2APIC; says 1 before it waits, and 2 when
        // it has come.
        guest guest_waits_for_interrupt_in_real_mode
        xor %ax, %ax
        mov %ax, %ds
        mov %ax, %ss
        movw $(2f - guest_waits_for_interrupt_in_real_mode + 0x1000), 0x40 * 4
        movw $0, 0x40 * 4 + 2
        mov $0x1b, %ecx // the APIC base
        rdmsr
        or $0xc00, %eax
        wrmsr
        write_msr MSR_X2APIC_SPURIOUS, 0x1ff
        mov $1, %al
        out %al, $REPORT_PORT
        sti
1:      hlt
        jmp 1b
2:      mov $2, %al
        out %al, $REPORT_PORT
        hlt
        end_guest guest_waits_for_interrupt_in_real_mode

        .section .note.GNU-stack, "", @progbits
