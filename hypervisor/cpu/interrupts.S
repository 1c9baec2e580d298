// SPDX-License-Identifier: Apache-2.0
//
// Entry points of the 256 vectors. All run on the stack that was in use: the hypervisor has no
// other privilege level, and while a guest's state is loaded the task register is the guest's.

        .section .text
        .balign 16
        .globl interrupt_stubs
interrupt_stubs:
        vector = 0
        .rept 256
        .balign 16
        .if !((vector == 8) || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
        push $0
        .endif
        push $vector
        jmp interrupt_common
        vector = vector + 1
        .endr

interrupt_common:
        cld
        push %rax
        push %rcx
        push %rdx
        push %rbx
        push %rbp
        push %rsi
        push %rdi
        push %r8
        push %r9
        push %r10
        push %r11
        push %r12
        push %r13
        push %r14
        push %r15
        mov %rsp, %rdi
        mov %rsp, %rbp
        and $-16, %rsp
        call handle_interrupt
        mov %rbp, %rsp
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %r11
        pop %r10
        pop %r9
        pop %r8
        pop %rdi
        pop %rsi
        pop %rbp
        pop %rbx
        pop %rdx
        pop %rcx
        pop %rax
        add $16, %rsp
        iretq

        .section .note.GNU-stack, "", @progbits
