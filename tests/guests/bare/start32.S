// SPDX-License-Identifier: Apache-2.0
//
// From the PVH entry to bare_program() in 32-bit protected mode, as it is entered, without paging.

#define XEN_ELFNOTE_PHYS32_ENTRY 18

        .section .note.pvh, "a", @note
        .balign 4
        .long 4, 4, XEN_ELFNOTE_PHYS32_ENTRY
        .asciz "Xen"
        .long entry

        .text
        .code32
        .globl entry
entry:
        mov $stack_top, %esp
        call bare_program
stop:   cli
        hlt
        jmp stop

        .section .bss
        .balign 16
        .skip 16384
stack_top:

        .section .note.GNU-stack, "", @progbits
