// SPDX-License-Identifier: Apache-2.0
//
// Code that debug.c steps through, and code at which it has breakpoints.

#define RFLAGS_TF (1 << 8)
#define MSR_PAT 0x277
#define PORT_SCRATCH 0x3ff
#define APIC_TPR 0xfee00080
#define IOAPIC 0xfec00000
#define CPUID_LEAF 0x40000000

        .text

// An instruction, and its end in the list of where steps end.
        .macro step instruction:vararg
        \instruction
9:
        .pushsection .rodata.steps, "a"
        .quad 9b
        .popsection
        .endm

        .section .rodata.steps, "a"
        .balign 8
        .globl debug_steps, debug_steps_end
debug_steps:

        .text
        .globl debug_stepped
debug_stepped:
        push %rbx
        pushfq
        orq $RFLAGS_TF, (%rsp)
        popfq
        step nop
        step mov $CPUID_LEAF, %eax
        step cpuid
        step mov $MSR_PAT, %ecx
        step rdmsr
        step wrmsr
        step mov $PORT_SCRATCH, %edx
        step out %al, %dx
        step in %dx, %al
        step mov $APIC_TPR, %ebx
        step mov (%rbx), %eax
        step mov %eax, (%rbx)
        step mov $IOAPIC, %ebx
        step movl $1, (%rbx)
        step mov 0x10(%rbx), %eax
        step cpuid
        step wbinvd
        step cpuid
        step pushfq
        step andq $~RFLAGS_TF, (%rsp)
        step popfq
        pop %rbx
        ret

        .section .rodata.steps, "a"
debug_steps_end:

        .text
// Breakpoints: at two instructions in turn, of which the first is carried out by somebody else.
        .globl debug_at_cpuid, debug_behind_cpuid, debug_passes
debug_passes:
        push %rbx
        xor %eax, %eax
debug_at_cpuid:
        cpuid
debug_behind_cpuid:
        nop
        pop %rbx
        ret

        .section .note.GNU-stack, "", @progbits
