// SPDX-License-Identifier: Apache-2.0
//
// Guests for what a parent can ask to be told of.
#include "tests/guests/guest_macros.inc"

        .section .rodata
        .code64

        // Reads the MSR in RDI: it is in R8 when it says 1; again and again.
        guest guest_reads_msr
1:      mov %edi, %ecx
        rdmsr
        shl $32, %rdx
        or %rdx, %rax
        mov %rax, %r8
        say $1
        jmp 1b
        end_guest guest_reads_msr

        // Writes RSI to the MSR in RDI, and says 1; again and again.
        guest guest_writes_msr
1:      mov %edi, %ecx
        mov %rsi, %rax
        mov %rsi, %rdx
        shr $32, %rdx
        wrmsr
        say $1
        jmp 1b
        end_guest guest_writes_msr

        guest guest_undefined
        ud2
        say $1
        hlt
        end_guest guest_undefined

        // Says 1 when it has been idle, with interrupts masked, by the priority in EDI too.
        guest guest_is_idle
        cli
        write_msr MSR_X2APIC_SPURIOUS, 0x1ff
        mov $MSR_X2APIC_TPR, %ecx
        mov %edi, %eax
        xor %edx, %edx
        wrmsr
        mov $MSR_GUEST_IDLE, %ecx
        rdmsr
        say $1
        hlt
        end_guest guest_is_idle

        // A handler without an error code: says where its exception was, and returns there.
        guest guest_says_place
        mov (%rsp), %rax
        out %eax, $REPORT_PORT
        iretq
        end_guest guest_says_place

        // Handlers of an interrupt: say 0x43, end it, by an MSR or the APIC's page at RDI, and say 1.
        guest guest_ends_by_msr
        say $0x43
        write_msr MSR_X2APIC_EOI, 0
        say $1
        iretq
        end_guest guest_ends_by_msr

        guest guest_ends_by_synthetic_msr
        say $0x43
        write_msr MSR_EOI, 0
        say $1
        iretq
        end_guest guest_ends_by_synthetic_msr

        guest guest_ends_by_page
        say $0x43
        movl $0, 0xb0(%rdi)
        say $1
        iretq
        end_guest guest_ends_by_page

        // A handler with one: says it, and where its exception was.
        guest guest_says_error_and_place
        pop %rax
        out %eax, $REPORT_PORT
        mov (%rsp), %rax
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_says_error_and_place

        // Real mode: halts, and says 7.
        .code16
        guest guest_halts_in_real_mode
        hlt
        mov $7, %al
        out %al, $REPORT_PORT
        hlt
        end_guest guest_halts_in_real_mode

        .section .note.GNU-stack, "", @progbits
