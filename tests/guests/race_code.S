// SPDX-License-Identifier: Apache-2.0
//
// The two processors of a race, with RDI at their area (race_steps.hpp).
#include "tests/guests/guest_macros.inc"

#define CURRENT 0
#define ROUNDS 8
#define CR3 16
#define TARGET 24
#define RAX 32
#define RBX 40
#define RCX 48
#define RDX 56
#define RSI 64
#define RDI 72
#define RBP 80
#define BEFORE 88
#define AFTER 96
#define PUSHED 104
#define FAULTED 112
#define RAX_AFTER 120
#define RBX_AFTER 128
#define RCX_AFTER 136
#define RDX_AFTER 144
#define SEED 152
#define STEP_COUNT 160
#define STEPS 168
#define PLACES 176
#define PLACE_COUNT 7

        .section .rodata
        .code64

        // Runs the instruction at the target, which comes back to R15, and says 1; again and again.
        guest guest_runs_instructions
        mov %rdi, %r12
1:      mov CURRENT(%r12), %r13
        xor %r14d, %r14d
        lea 2f(%rip), %r15
        mov %rsp, %r11
        mov CR3(%r12), %rax
        mov %rax, %cr3          // so that the processor remembers no translation
        mov RAX(%r12), %rax
        mov RBX(%r12), %rbx
        mov RCX(%r12), %rcx
        mov RDX(%r12), %rdx
        mov RSI(%r12), %rsi
        mov RDI(%r12), %rdi
        mov RBP(%r12), %rbp
        jmp *TARGET(%r12)
2:      mov %rax, RAX_AFTER(%r12)
        mov %rbx, RBX_AFTER(%r12)
        mov %rcx, RCX_AFTER(%r12)
        mov %rdx, RDX_AFTER(%r12)
        mov %r11, %rax
        sub %rsp, %rax
        mov %rax, PUSHED(%r12)
        mov %r11, %rsp
        mov %r14, FAULTED(%r12)
        mov %r13, BEFORE(%r12)
        mov CURRENT(%r12), %rax
        mov %rax, AFTER(%r12)
        incq ROUNDS(%r12)
        say $1
        jmp 1b
        end_guest guest_runs_instructions

        // Its page fault ends the round.
        guest guest_ends_round
        add $8, %rsp
        mov %r15, (%rsp)
        mov $1, %r14d
        iretq
        end_guest guest_ends_round

        // Takes steps at random, and lets none to three rounds go by after each.
        guest guest_rewrites_instructions
        mov %rdi, %r12
        xor %r11d, %r11d
1:      mov SEED(%r12), %rax
        mov $6364136223846793005, %rcx
        imul %rcx, %rax
        inc %rax
        mov %rax, SEED(%r12)
        shr $33, %rax
        xor %edx, %edx
        divq STEP_COUNT(%r12)
        and $3, %eax
        mov %rax, %r10
        inc %r11
        movq $0, CURRENT(%r12)
        mov %rdx, %rbx
        shl $6, %rbx
        add STEPS(%r12), %rbx
        xor %ecx, %ecx
2:      mov (%rbx, %rcx, 8), %rax
        mov PLACES(%r12, %rcx, 8), %rsi
        mov %rax, (%rsi)
        inc %ecx
        cmp $PLACE_COUNT, %ecx
        jb 2b
        mov %r11, %rax
        shl $16, %rax
        or %rdx, %rax
        mov %rax, CURRENT(%r12)
        add ROUNDS(%r12), %r10
3:      pause
        cmp %r10, ROUNDS(%r12)
        jb 3b
        jmp 1b
        end_guest guest_rewrites_instructions

        .section .note.GNU-stack, "", @progbits
