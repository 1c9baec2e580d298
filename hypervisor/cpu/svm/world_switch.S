// SPDX-License-Identifier: Apache-2.0
//
// void svm_world_switch(vmcb: RDI, general registers: RSI)
//
// Enters the guest and comes back at its next exit. RAX and RSP of the guest are in the VMCB, the
// other general registers in the array, in the order that instructions encode them. Physical
// interrupts end the run: while the guest runs, the host's IF decides on them, so it is set inside
// the time that GIF is clear.

        .section .text
        .globl svm_world_switch
        .type svm_world_switch, @function
svm_world_switch:
        push %rbp
        push %rbx
        push %r12
        push %r13
        push %r14
        push %r15
        push %rsi
        clgi
        sti
        mov %rdi, %rax
        mov 1*8(%rsi), %rcx
        mov 2*8(%rsi), %rdx
        mov 3*8(%rsi), %rbx
        mov 5*8(%rsi), %rbp
        mov 7*8(%rsi), %rdi
        mov 8*8(%rsi), %r8
        mov 9*8(%rsi), %r9
        mov 10*8(%rsi), %r10
        mov 11*8(%rsi), %r11
        mov 12*8(%rsi), %r12
        mov 13*8(%rsi), %r13
        mov 14*8(%rsi), %r14
        mov 15*8(%rsi), %r15
        mov 6*8(%rsi), %rsi
        vmrun
        xchg %rsi, (%rsp)
        mov %rcx, 1*8(%rsi)
        mov %rdx, 2*8(%rsi)
        mov %rbx, 3*8(%rsi)
        mov %rbp, 5*8(%rsi)
        mov %rdi, 7*8(%rsi)
        mov %r8, 8*8(%rsi)
        mov %r9, 9*8(%rsi)
        mov %r10, 10*8(%rsi)
        mov %r11, 11*8(%rsi)
        mov %r12, 12*8(%rsi)
        mov %r13, 13*8(%rsi)
        mov %r14, 14*8(%rsi)
        mov %r15, 15*8(%rsi)
        pop 6*8(%rsi)
        cli
        stgi
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbx
        pop %rbp
        ret
        .size svm_world_switch, . - svm_world_switch

        .section .note.GNU-stack, "", @progbits
