// SPDX-License-Identifier: Apache-2.0
//
// Goes from long mode to another mode, does there what somebody else has to carry out or to
// translate, and comes back. It runs where it has been copied to, in MODES_BASE.
#include "tests/guests/conformance/modes.h"

#define AT(label) (MODES_BASE + (label) - modes_code)
#define CODE64 0x08
#define DATA 0x10
#define CODE32 0x18
#define CODE16 0x20
#define DATA16 0x28
#define APIC 0x30
#define IOAPIC 0x38
#define CR0_PE 1
#define CR0_PG (1 << 31)
#define CR4_PSE (1 << 4)
#define CR4_PAE (1 << 5)
#define MSR_PAT 0x277
#define MSR_EFER 0xc0000080
#define EFER_LME (1 << 8)
#define CPUID_LEAF 0x40000000

        .section .rodata
        .globl modes_code, modes_code_end, modes_findings
        .balign 16

// What is done in each mode, with addresses of its width: \found has where findings go, \ip is a
// register as wide as the instruction pointer. GS begins with the APIC, FS with the I/O APIC.
        .macro probe found, source, count, ip
        mov $CPUID_LEAF, %eax
        xor %ecx, %ecx
        cpuid
        mov %eax, FOUND_CPUID(%\found)
        mov %ebx, FOUND_CPUID + 4(%\found)
        mov %ecx, FOUND_CPUID + 8(%\found)
        mov %edx, FOUND_CPUID + 12(%\found)
        mov $CPUID_LEAF, %eax
        .byte 0x66 // means nothing to the next one
        cpuid
        mov %ebx, FOUND_PREFIXED(%\found)

        mov $MSR_PAT, %ecx
        rdmsr
        mov %eax, FOUND_PAT(%\found)
        mov %edx, FOUND_PAT + 4(%\found)
        mov $NEW_PAT_LOW, %eax
        mov $NEW_PAT_HIGH, %edx
        wrmsr
        xor %eax, %eax
        xor %edx, %edx
        rdmsr
        mov %eax, FOUND_NEW_PAT(%\found)
        mov %edx, FOUND_NEW_PAT + 4(%\found)
        mov FOUND_PAT(%\found), %eax
        mov FOUND_PAT + 4(%\found), %edx
        wrmsr

        mov $PORT_SCRATCH, %edx
        mov $PORT_VALUE, %eax
        out %al, %dx
        xor %eax, %eax
        in %dx, %al
        mov %eax, FOUND_PORT(%\found)

        // Of registers whose upper halves are no part of addresses and counts in 16 bits.
        mov $0xabcd0000, %esi
        mov $0xabcd0000, %ecx
        mov %\found, %\source
        add $(string - findings), %\source
        mov $3, %\count
        cld
        rep outsb
        mov %esi, FOUND_SOURCE(%\found)
        mov %ecx, FOUND_COUNT(%\found)
        xor %eax, %eax
        in %dx, %al
        mov %eax, FOUND_STRING(%\found)

        mov %gs:0x30, %eax
        mov %eax, FOUND_APIC_VERSION(%\found)
        movl $TPR_VALUE, %gs:0x80
        mov %gs:0x80, %eax
        mov %eax, FOUND_TPR(%\found)
        movl $0, %gs:0x80
        movl $1, %fs:0
        mov %fs:0x10, %eax
        mov %eax, FOUND_IOAPIC(%\found)

        call 9f
9:      pop %\ip
        mov %ebx, FOUND_ADDRESS(%\found)
        .endm

// CR0 and CR4, which have another form in 64 bits.
        .macro registers found, accumulator
        mov %cr0, %\accumulator
        mov %eax, FOUND_CR0(%\found)
        mov %cr4, %\accumulator
        mov %eax, FOUND_CR4(%\found)
        .endm

        .macro data_segments selector
        mov $\selector, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        .endm

// EDI: which mode. Called in long mode, with interrupts off and memory mapped where it is.
        .code64
modes_code:
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        mov %rsp, AT(saved_stack)
        mov %cr3, %rax
        mov %rax, AT(saved_cr3)
        mov %cr4, %rax
        mov %rax, AT(saved_cr4)
        mov %cr0, %rax
        mov %rax, AT(saved_cr0)
        sgdt AT(saved_table)
        mov %edi, AT(mode)
        lgdt AT(table_register)
        mov $APIC, %eax
        mov %eax, %gs
        mov $IOAPIC, %eax
        mov %eax, %fs
        cmp $MODE_LONG, %edi
        jne 1f
        mov $AT(findings), %edi
        probe rdi, rsi, rcx, rbx
        registers rdi, rax
        jmp back64
1:      push $CODE32
        push $AT(compatibility)
        lretq

        .code32
compatibility:
        data_segments DATA
        mov $(MODES_BASE + MODES_STACK_TOP), %esp
        cmpl $MODE_COMPATIBILITY, AT(mode)
        jne 1f
        mov $AT(findings), %edi
        probe edi, esi, ecx, ebx
        registers edi, eax
1:      mov %cr0, %eax
        and $~CR0_PG, %eax
        mov %eax, %cr0
        mov $MSR_EFER, %ecx
        rdmsr
        and $~EFER_LME, %eax
        wrmsr
        mov %cr4, %eax
        and $~CR4_PAE, %eax
        mov %eax, %cr4
        mov AT(mode), %eax
        cmp $MODE_COMPATIBILITY, %eax
        je back32
        cmp $MODE_PROTECTED_32, %eax
        je in_32_bits
        ja in_16_bits

        // With paging: CR4, CR3 and the distance by which all is seen once more.
        sub $MODE_PAE_LARGE, %eax
        imul $12, %eax
        add $AT(pagings), %eax
        mov %cr4, %ecx
        or (%eax), %ecx
        mov %ecx, %cr4
        mov 4(%eax), %ecx
        mov %ecx, %cr3
        mov 8(%eax), %ebx
        mov %cr0, %eax
        or $CR0_PG, %eax
        mov %eax, %cr0
        lea AT(seen_elsewhere)(%ebx), %eax
        jmp *%eax
seen_elsewhere:
        lea AT(findings)(%ebx), %edi
        probe edi, esi, ecx, ebx
        registers edi, eax
        mov $AT(end_of_paging), %eax
        jmp *%eax
end_of_paging:
        mov %cr0, %eax
        and $~CR0_PG, %eax
        mov %eax, %cr0
        jmp back32

in_32_bits:
        mov $AT(findings), %edi
        probe edi, esi, ecx, ebx
        registers edi, eax
        jmp back32

in_16_bits:
        data_segments DATA16
        mov $MODES_STACK_TOP, %esp
        ljmp $CODE16, $(code_in_16_bits - modes_code)
        .code16
code_in_16_bits:
        cmpw $MODE_REAL, mode - modes_code
        je 1f
        mov $(findings - modes_code), %edi
        probe di, si, cx, bx
        registers di, eax
        jmp 3f
1:      mov %cr0, %eax
        and $~CR0_PE, %eax
        mov %eax, %cr0
        ljmp $(MODES_BASE >> 4), $(2f - modes_code)
        // FS and GS keep what they have been loaded with.
2:      data_segments (MODES_BASE >> 4)
        mov $(findings - modes_code), %edi
        probe di, si, cx, bx
        registers di, eax
        mov %cr0, %eax
        or $CR0_PE, %eax
        mov %eax, %cr0
3:      ljmpl $CODE32, $AT(back32)

        .code32
back32:
        data_segments DATA
        mov AT(saved_cr4), %eax
        mov %eax, %cr4
        mov AT(saved_cr3), %eax
        mov %eax, %cr3
        mov $MSR_EFER, %ecx
        rdmsr
        or $EFER_LME, %eax
        wrmsr
        mov AT(saved_cr0), %eax
        mov %eax, %cr0
        ljmp $CODE64, $AT(back64)
        .code64
back64:
        data_segments DATA
        xor %eax, %eax
        mov %eax, %fs
        mov %eax, %gs
        lgdt AT(saved_table)
        mov AT(saved_stack), %rsp
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        ret

        .balign 8
table:
        .quad 0
        .quad 0x00af9b000000ffff // CODE64
        .quad 0x00cf93000000ffff // DATA
        .quad 0x00cf9b000000ffff // CODE32
        .quad 0x00009b000000ffff | MODES_BASE << 16 // CODE16
        .quad 0x000093000000ffff | MODES_BASE << 16 // DATA16
        .quad 0xfecf93e00000ffff // APIC
        .quad 0xfecf93c00000ffff // IOAPIC
table_end:
        .balign 8
table_register:
        .word table_end - table - 1
        .quad AT(table)
        .balign 8
saved_table:
        .skip 16
saved_stack:
        .quad 0
saved_cr0:
        .quad 0
saved_cr3:
        .quad 0
saved_cr4:
        .quad 0
mode:
        .long 0
pagings: // of MODE_PAE_LARGE and those that follow
        .long CR4_PAE, MODES_BASE + MODES_TABLES + MODES_PAE * 4096, MODES_LARGE_AT
        .long CR4_PAE, MODES_BASE + MODES_TABLES + MODES_PAE * 4096, MODES_SMALL_AT
        .long CR4_PSE, MODES_BASE + MODES_TABLES + MODES_TWO_LEVEL * 4096, MODES_LARGE_AT
        .long CR4_PSE, MODES_BASE + MODES_TABLES + MODES_TWO_LEVEL * 4096, MODES_SMALL_AT
        .balign 8
modes_findings:
findings:
        .skip FOUND_SIZE
string: // as modes.c expects it
        .ascii "abc"
modes_code_end:

        .section .note.GNU-stack, "", @progbits
