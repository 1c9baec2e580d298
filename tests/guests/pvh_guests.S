// SPDX-License-Identifier: Apache-2.0
//
// Kernels with a PVH entry (Xen's ELF note 18) that cannot go on: built once with each of
// TRIPLE_FAULT and JUMP_NOWHERE defined.

#define XEN_ELFNOTE_PHYS32_ENTRY 18

        .section .note.pvh, "a", @note
        .balign 4
        .long 4, 4, XEN_ELFNOTE_PHYS32_ENTRY
        .asciz "Xen"
        .balign 4
        .long entry

        .section .text, "ax"
        .code32
        .globl entry
entry:
#ifdef TRIPLE_FAULT
        lidt empty
        ud2
        .balign 4
empty:
        .word 0
        .long 0
#endif
#ifdef JUMP_NOWHERE
        mov $0x40000000, %eax
        jmp *%eax
#endif
        .section .note.GNU-stack, "", @progbits
