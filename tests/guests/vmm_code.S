// SPDX-License-Identifier: Apache-2.0
//
// Guests for what a VMM sets and reads.
#include "tests/guests/guest_macros.inc"

        .section .rodata
        .code64

        .macro read_reference_time
        mov $MSR_TIME_REF_COUNT, %ecx
        rdmsr
        shl $32, %rdx
        or %rdx, %rax
        .endm

        // CPUID of EDI and ESI: its answer is in R8 to R11 when it says 1; again and again.
        guest guest_cpuid
1:      mov %edi, %eax
        mov %esi, %ecx
        cpuid
        mov %eax, %r8d
        mov %ebx, %r9d
        mov %ecx, %r10d
        mov %edx, %r11d
        say $1
        jmp 1b
        end_guest guest_cpuid

        // The counter in R8, the reference time before and after that in RBX and RBP, and what the
        // page at RDI makes of the counter in R9, its sequence in R10; says 1; again and again.
        guest guest_tells_time
        mov $MSR_REFERENCE_TSC, %ecx
        mov %edi, %eax
        or $1, %eax
        xor %edx, %edx
        wrmsr
1:      read_reference_time
        mov %rax, %rbx
        mov (%rdi), %r10d
        rdtsc
        shl $32, %rdx
        or %rdx, %rax
        mov %rax, %r8
        mulq 8(%rdi)
        add 16(%rdi), %rdx
        mov %rdx, %r9
        read_reference_time
        mov %rax, %rbp
        say $1
        jmp 1b
        end_guest guest_tells_time

        // Counts at RDI until the next quadword isn't zero, and says 1.
        guest guest_counts
1:      incq (%rdi)
        cmpq $0, 8(%rdi)
        je 1b
        say $1
        hlt
        end_guest guest_counts

        // Waits for what it is given to handle.
        guest guest_pauses
1:      pause
        jmp 1b
        end_guest guest_pauses

        // A handler of an exception with an error code: says it.
        guest guest_says_error_code
        pop %rax
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_says_error_code

        guest guest_says_nmi
        say $2
        hlt
        end_guest guest_says_nmi

        // Real mode: what it gives to XMM5 is to be seen; then says what is there.
        .code16
        guest guest_gives_and_says_xmm
        mov $0x5678, %eax
        movd %eax, %xmm5
        out %eax, $REPORT_PORT
        movd %xmm5, %eax
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_gives_and_says_xmm

        .section .note.GNU-stack, "", @progbits
