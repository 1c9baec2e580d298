// SPDX-License-Identifier: Apache-2.0
//
// A guest that signals its host and halts until the answer comes, round after round. Of each round it
// notes when it began, when it went on and when the answer's handler began.
#include "tests/guests/guest_macros.inc"

#define ANSWERED 0x3800
#define FIRST_ROUND 0x100000
#define ROUND_SIZE 24
#define DOORBELL_PORT 0x510
#define EVENT_FLAGS_3 0xb300
#define EOI_ASSIST 0xd000

        .section .rodata
        .code64

        .macro note_time where
        rdtsc
        shl $32, %rdx
        or %rdx, %rax
        mov %rax, \where
        .endm

        // ESI rounds; the MSRs that RDI points to are set first, pairs of number and value up to a
        // zero. Says 1 after the last.
        .macro begin_rounds
1:      mov (%rdi), %rcx
        jrcxz 2f
        mov 8(%rdi), %eax
        mov 12(%rdi), %edx
        wrmsr
        add $16, %rdi
        jmp 1b
2:      mov $FIRST_ROUND, %ebx
3:      movl $0, ANSWERED
        note_time (%rbx)
        .endm
        .macro end_rounds
        note_time 8(%rbx)
4:      cli
        cmpl $0, ANSWERED
        jne 5f
        sti
        hlt
        jmp 4b
5:      sti
        add $ROUND_SIZE, %rbx
        dec %esi
        jnz 3b
        say $1
        hlt
        .endm

        guest guest_signals_by_hypercall
        begin_rounds
        mov $HVCALL_SIGNAL_EVENT_FAST, %ecx
        mov $1, %edx
        xor %r8d, %r8d
        mov $0x5000, %eax
        call *%rax
        end_rounds
        end_guest guest_signals_by_hypercall

        guest guest_signals_by_port
        begin_rounds
        mov $DOORBELL_PORT, %edx
        xor %eax, %eax
        out %eax, %dx
        end_rounds
        end_guest guest_signals_by_port

        guest guest_takes_answer
        push %rax
        push %rcx
        push %rdx
        note_time 16(%rbx)
        lock btrl $0, EVENT_FLAGS_3
        movl $1, ANSWERED
        btrl $0, EOI_ASSIST
        jc 1f
        write_msr MSR_X2APIC_EOI, 0
1:      pop %rdx
        pop %rcx
        pop %rax
        iretq
        end_guest guest_takes_answer

        .section .note.GNU-stack, "", @progbits
