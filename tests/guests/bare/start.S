// SPDX-License-Identifier: Apache-2.0
//
// From the PVH entry (Xen, docs/misc/pvh.pandoc: 32-bit protected mode, no paging) to
// bare_main() in long mode, and from a start-up message to bare_processor_main(). The first 4 GiB are
// mapped where they are, in pages of 2 MiB; those of the last GiB, where the devices are, uncached.

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define CR0_PE 1
#define CR0_PG (1 << 31)
#define CR0_WP (1 << 16)
#define CR4_PAE (1 << 5)
#define CR4_OSFXSR (3 << 9)
#define MSR_EFER 0xc0000080
#define EFER_LME (1 << 8)
#define PRESENT_WRITABLE 3
#define LARGE_PAGE 0x83
#define LARGE_PAGE_UNCACHED 0x9b
#define CODE64 0x08
#define CODE32 0x18
#define DATA 0x10
#define TRAMPOLINE 0x8000

        .section .note.pvh, "a", @note
        .balign 4
        .long 4, 8, XEN_ELFNOTE_PHYS32_ENTRY
        .asciz "Xen"
        .quad entry

        .section .text.entry, "ax"
        .code32
        .globl entry
entry:
        mov $stack_top, %esp
        // Of a kernel that is started by the Linux boot protocol; else it says nothing.
        mov %esi, bare_boot_parameters
        // The lowest tables, then those above them.
        mov $directories, %edi
        mov $LARGE_PAGE, %eax
        xor %ecx, %ecx
1:      cmp $(3 * 512), %ecx
        jne 2f
        add $(LARGE_PAGE_UNCACHED - LARGE_PAGE), %eax
2:      mov %eax, (%edi, %ecx, 8)
        movl $0, 4(%edi, %ecx, 8)
        add $0x200000, %eax
        inc %ecx
        cmp $(4 * 512), %ecx
        jb 1b
        mov $directory_pointers, %edi
        lea (directories + PRESENT_WRITABLE), %eax
        xor %ecx, %ecx
3:      mov %eax, (%edi, %ecx, 8)
        add $0x1000, %eax
        inc %ecx
        cmp $4, %ecx
        jb 3b
        movl $(directory_pointers + PRESENT_WRITABLE), bare_page_tables
        lgdt table_register
        call enable_long_mode
        ljmp $CODE64, $start64

enable_long_mode:
        mov $(CR4_PAE | CR4_OSFXSR), %eax
        mov %eax, %cr4
        mov $bare_page_tables, %eax
        mov %eax, %cr3
        mov $MSR_EFER, %ecx
        rdmsr
        or $EFER_LME, %eax
        wrmsr
        mov $(CR0_PG | CR0_WP | CR0_PE), %eax
        mov %eax, %cr0
        ret

        .code64
start64:
        call load_data_segments
        call bare_main
stop:   cli
        hlt
        jmp stop

load_data_segments:
        mov $DATA, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        xor %eax, %eax
        mov %eax, %fs
        mov %eax, %gs
        ret

// What processors begin with that get a start-up message; copied to TRAMPOLINE.
        .globl bare_trampoline, bare_trampoline_end
        .code16
bare_trampoline:
        cli
        xor %eax, %eax
        mov %ax, %ds
        lgdtl TRAMPOLINE + (trampoline_table_register - bare_trampoline)
        mov $CR0_PE, %eax
        mov %eax, %cr0
        ljmpl $CODE32, $processor32
        .balign 4
trampoline_table_register:
        .word table_end - table - 1
        .long table
bare_trampoline_end:

        .code32
processor32:
        mov $DATA, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov bare_processor_stack, %esp
        call enable_long_mode
        ljmp $CODE64, $processor64
        .code64
processor64:
        call load_data_segments
        call bare_processor_main
        jmp stop

// One stub for each vector; those with an error code have it on their stack already.
        .globl bare_interrupt_stubs
        .balign 16
bare_interrupt_stubs:
        vector = 0
        .rept 256
        .balign 16
        .if vector != 8 && vector != 10 && vector != 11 && vector != 12 && vector != 13 && \
            vector != 14 && vector != 17 && vector != 21 && vector != 29 && vector != 30
        push $0
        .endif
        push $vector
        jmp interrupt
        vector = vector + 1
        .endr

interrupt:
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
        cld
        call bare_handle_interrupt
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

        .section .data
        .balign 8
table:
        .quad 0
        .quad 0x00af9b000000ffff // CODE64
        .quad 0x00cf93000000ffff // DATA
        .quad 0x00cf9b000000ffff // CODE32
table_end:
table_register:
        .word table_end - table - 1
        .quad table

        .section .bss
        .globl bare_boot_parameters
bare_boot_parameters:
        .skip 4
        .balign 4096
        .globl bare_page_tables
bare_page_tables:
        .skip 4096
directory_pointers:
        .skip 4096
directories:
        .skip 4 * 4096
        .skip 16384
stack_top:

        .section .note.GNU-stack, "", @progbits
