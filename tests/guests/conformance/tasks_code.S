// SPDX-License-Identifier: Apache-2.0
//
// Tasks, and what hands over to them, for tasks.c. Each task goes on behind its last instruction
// when it is entered again.

#define TSS_EIP 0x20
#define APIC_EOI 0xfee000b0
#define APIC_COMMAND 0xfee00300
#define NMI_TO_SELF 0x40400
#define MAIN_SELECTOR 0x18

        .text
        .code32

// Notes what it finds, does what somebody else has to carry out, and is back where it began.
        .macro note_task findings
        incl \findings
        str %eax
        movzwl %ax, %eax
        mov %eax, \findings + 4
        pushfl
        popl \findings + 8
        mov %cr0, %eax
        mov %eax, \findings + 12
        mov %cr3, %eax
        mov %eax, \findings + 16
        sldt %eax
        movzwl %ax, %eax
        mov %eax, \findings + 20
        mov $0x40000000, %eax
        xor %ecx, %ecx
        cpuid
        mov %ebx, \findings + 24
        .endm

        .globl task_called
task_called:
        note_task found_by_called
        iret
        jmp task_called

        .globl task_jumped_to
task_jumped_to:
        note_task found_by_jumped_to
        ljmp $MAIN_SELECTOR, $0
        jmp task_jumped_to

// Of an exception without error code, at an instruction of two bytes.
        .globl task_of_invalid_opcode
task_of_invalid_opcode:
        note_task found_by_invalid_opcode
        addl $2, main_task + TSS_EIP
        iret
        jmp task_of_invalid_opcode

// Of one with error code, which is on the new task's stack.
        .globl task_of_protection
task_of_protection:
        popl protection_error
        note_task found_by_protection
        addl $2, main_task + TSS_EIP
        iret
        jmp task_of_protection

        .globl task_of_interrupt
task_of_interrupt:
        note_task found_by_interrupt
        movl $0, APIC_EOI
        iret
        jmp task_of_interrupt

// In its first run it sends two more of the kind.
        .globl task_of_nmi
task_of_nmi:
        note_task found_by_nmi
        cmpl $1, found_by_nmi
        jne 1f
        movl $NMI_TO_SELF, APIC_COMMAND
        movl $NMI_TO_SELF, APIC_COMMAND
        mov $0x40000000, %eax
        cpuid
        mov found_by_nmi, %eax
        mov %eax, nmis_within
1:      iret
        jmp task_of_nmi

        .globl task_elsewhere
task_elsewhere:
        note_task found_by_elsewhere
        mov elsewhere_from, %eax
        mov (%eax), %eax
        mov %eax, elsewhere_read
        iret
        jmp task_elsewhere

        .section .note.GNU-stack, "", @progbits
