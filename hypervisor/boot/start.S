// SPDX-License-Identifier: Apache-2.0
//
// Where the loader enters, and where the other logical processors do: from protected or real mode
// into long mode with the first 4 GiB identity-mapped, then into C++.

#define MULTIBOOT_HEADER_MAGIC 0x1badb002
#define MULTIBOOT_LOADER_MAGIC 0x2badb002
#define MULTIBOOT_PAGE_ALIGN 1
#define MULTIBOOT_MEMORY_INFO 2

#define MULTIBOOT2_HEADER_MAGIC 0xe85250d6
#define MULTIBOOT2_LOADER_MAGIC 0x36d76289
#define MULTIBOOT2_I386 0
#define MULTIBOOT2_HEADER_LENGTH (multiboot2_header_end - multiboot2_header)
#define MULTIBOOT2_TAG_END 0
#define MULTIBOOT2_TAG_INFORMATION_REQUEST 1
#define MULTIBOOT2_TAG_MODULE_ALIGNMENT 6
#define MULTIBOOT2_INFORMATION_COMMAND_LINE 1
#define MULTIBOOT2_INFORMATION_MODULE 3
#define MULTIBOOT2_INFORMATION_MEMORY_MAP 6

#define CR0_PE (1 << 0)
#define CR0_MP (1 << 1)
#define CR0_NE (1 << 5)
#define CR0_WP (1 << 16)
#define CR0_PG (1 << 31)
#define CR4_PAE (1 << 5)
#define MSR_EFER 0xc0000080
#define EFER_LME (1 << 8)
#define EFER_NXE (1 << 11)
#define PAGE_PRESENT_WRITABLE 3
#define PAGE_LARGE (1 << 7)
#define CODE32 0x08
#define DATA32 0x10
#define CODE64 0x18
#define STACK_SIZE 0x8000 // as LogicalProcessor::stack_size

        .section .multiboot, "a"
        .balign 4
        .long MULTIBOOT_HEADER_MAGIC
        .long MULTIBOOT_PAGE_ALIGN | MULTIBOOT_MEMORY_INFO
        .long -(MULTIBOOT_HEADER_MAGIC + (MULTIBOOT_PAGE_ALIGN | MULTIBOOT_MEMORY_INFO))

        // The same image for loaders of Multiboot2 (its specification, 3.1): the ELF header says
        // where it goes and where it is entered, in 32-bit mode. No tag asks for UEFI's boot
        // services: they have ended, so the loader's last memory map is true.
        .balign 8
multiboot2_header:
        .long MULTIBOOT2_HEADER_MAGIC
        .long MULTIBOOT2_I386
        .long MULTIBOOT2_HEADER_LENGTH
        .long -(MULTIBOOT2_HEADER_MAGIC + MULTIBOOT2_I386 + MULTIBOOT2_HEADER_LENGTH)
1:      .short MULTIBOOT2_TAG_INFORMATION_REQUEST, 0
        .long 2f - 1b
        .long MULTIBOOT2_INFORMATION_COMMAND_LINE
        .long MULTIBOOT2_INFORMATION_MODULE
        .long MULTIBOOT2_INFORMATION_MEMORY_MAP
2:      .balign 8
        .short MULTIBOOT2_TAG_MODULE_ALIGNMENT, 0
        .long 8
        .short MULTIBOOT2_TAG_END, 0
        .long 8
multiboot2_header_end:

        .section .boot.text, "ax"
        .code32
        .globl multiboot_entry
multiboot_entry:
        cli
        cld
        mov %eax, %esi
        cmp $MULTIBOOT_LOADER_MAGIC, %eax
        je 1f
        cmp $MULTIBOOT2_LOADER_MAGIC, %eax
        jne not_multiboot
1:      mov %ebx, %ebp
        mov $(boot_stack + STACK_SIZE - 16), %esp

        mov $0x80000000, %eax
        cpuid
        cmp $0x80000001, %eax
        jb no_long_mode
        mov $0x80000001, %eax
        cpuid
        bt $29, %edx
        jnc no_long_mode

        // 2048 entries of 2 MiB each: the first 4 GiB, in four page directories.
        mov $boot_page_directories, %edi
        mov $(PAGE_PRESENT_WRITABLE | PAGE_LARGE), %eax
        mov $2048, %ecx
1:      mov %eax, (%edi)
        movl $0, 4(%edi)
        add $0x200000, %eax
        add $8, %edi
        loop 1b
        movl $(boot_page_directories + 0x0000 + PAGE_PRESENT_WRITABLE), boot_pdpt + 0
        movl $(boot_page_directories + 0x1000 + PAGE_PRESENT_WRITABLE), boot_pdpt + 8
        movl $(boot_page_directories + 0x2000 + PAGE_PRESENT_WRITABLE), boot_pdpt + 16
        movl $(boot_page_directories + 0x3000 + PAGE_PRESENT_WRITABLE), boot_pdpt + 24
        movl $(boot_pdpt + PAGE_PRESENT_WRITABLE), boot_pml4

        call enable_long_mode
        lgdt boot_gdt_pointer
        ljmp $CODE64, $multiboot_entry64

        // Turns paging and long mode on, in compatibility mode. Uses EAX, ECX, EDX.
enable_long_mode:
        mov $CR4_PAE, %eax
        mov %eax, %cr4
        mov $boot_pml4, %eax
        mov %eax, %cr3
        mov $MSR_EFER, %ecx
        mov $(EFER_LME | EFER_NXE), %eax
        xor %edx, %edx
        wrmsr
        mov $(CR0_PG | CR0_WP | CR0_NE | CR0_MP | CR0_PE), %eax
        mov %eax, %cr0
        ret

not_multiboot:
        mov $message_not_multiboot, %esi
        jmp die
no_long_mode:
        mov $message_no_long_mode, %esi
        // Prints the line at ESI on the first serial port, and stops.
die:
        lodsb
        test %al, %al
        jz 3f
        mov %al, %bl
        mov $0x3fd, %dx
2:      in %dx, %al
        test $0x20, %al
        jz 2b
        mov $0x3f8, %dx
        mov %bl, %al
        out %al, %dx
        jmp die
3:      hlt
        jmp 3b

        .code64
multiboot_entry64:
        xor %eax, %eax
        mov %eax, %ss
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %fs
        mov %eax, %gs
        mov $(boot_stack + STACK_SIZE - 16), %rsp
        mov %ebp, %edi
        mov %esi, %esi
        xor %ebp, %ebp
        call boot_main
        ud2

        // What the other logical processors run first: copied to a page below 1 MiB, entered in real
        // mode with CS:IP = page:0. `ap_stack` tells each its stack, one processor at a time.
        .section .rodata
        .balign 16
        .globl ap_trampoline_begin, ap_trampoline_end
        .code16
ap_trampoline_begin:
        cli
        cld
        mov %cs, %ax
        mov %ax, %ds
        lgdtl (ap_gdt_pointer - ap_trampoline_begin)
        mov $CR0_PE, %eax
        mov %eax, %cr0
        ljmpl $CODE32, $ap_entry32
        .balign 8
ap_gdt_pointer:
        .word boot_gdt_end - boot_gdt - 1
        .long boot_gdt
ap_trampoline_end:

        .section .boot.text, "ax"
        .code32
ap_entry32:
        mov $DATA32, %eax
        mov %eax, %ds
        mov %eax, %ss
        mov ap_stack, %esp
        call enable_long_mode
        ljmp $CODE64, $ap_entry64
        .code64
ap_entry64:
        xor %eax, %eax
        mov %eax, %ss
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %fs
        mov %eax, %gs
        mov ap_stack, %rsp
        xor %ebp, %ebp
        call ap_main
        ud2

        .section .rodata
        .balign 8
boot_gdt:
        .quad 0
        .quad 0x00cf9b000000ffff        // 32-bit code
        .quad 0x00cf93000000ffff        // 32-bit data
        .quad 0x00af9b000000ffff        // 64-bit code
boot_gdt_end:
boot_gdt_pointer:
        .word boot_gdt_end - boot_gdt - 1
        .long boot_gdt
message_not_multiboot:
        .asciz "undercroft: not started by a Multiboot loader; start it with GRUB's multiboot2 or QEMU's -kernel\r\n"
message_no_long_mode:
        .asciz "undercroft: this processor has no 64-bit mode; an AMD64 processor with AMD-V is needed\r\n"

        .section .boot_stack, "aw", @nobits
        .balign STACK_SIZE
        .globl boot_stack
boot_stack:
        .skip STACK_SIZE

        .section .boot_tables, "aw", @nobits
        .balign 4096
        .globl boot_pml4
boot_pml4:
        .skip 4096
boot_pdpt:
        .skip 4096
boot_page_directories:
        .skip 4 * 4096

        .section .bss
        .globl ap_stack
        .balign 8
ap_stack:
        .quad 0

        .section .note.GNU-stack, "", @progbits
