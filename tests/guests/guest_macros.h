// SPDX-License-Identifier: Apache-2.0
//
// What the guests' sources have in common. Each guest is copied to where its test wants it and
// depends on no address. Port 0x99 is where they say how they fare; nobody emulates it, so each
// write is an intercept.
#pragma once

#define REPORT_PORT 0x99
#define MSR_X2APIC_EOI 0x80b
#define MSR_X2APIC_ICR 0x830
#define MSR_GUEST_OS_ID 0x40000000
#define MSR_HYPERCALL 0x40000001
#define MSR_TIME_REF_COUNT 0x40000020
#define MSR_REFERENCE_TSC 0x40000021
#define MSR_EOI 0x40000070
#define MSR_EOM 0x40000084
#define HVCALL_POST_MESSAGE 0x5c
#define HVCALL_SIGNAL_EVENT_FAST (0x5d | (1 << 16))

        .macro guest name
        .balign 16
        .globl \name, \name\()_end
\name:
        .endm
        .macro end_guest name
\name\()_end:
        .endm
        .macro write_msr number, value
        mov $\number, %ecx
        mov $(\value), %eax
        xor %edx, %edx
        wrmsr
        .endm
        .macro say value
        mov \value, %eax
        out %eax, $REPORT_PORT
        .endm
