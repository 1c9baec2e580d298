// SPDX-License-Identifier: Apache-2.0
//
// What makes a program the kernel of a root partition: the header of a bzImage (the Linux kernel's
// Documentation/arch/x86/boot.rst), which the hypervisor loads as it would load Linux.

#define PROTOCOL_2_12 0x020c
#define LOADED_HIGH 1
#define SETUP_SECTORS 1
#define ALIGNMENT 0x200000

        .section .setup, "a"
setup:
        .skip 0x1f1
        .byte SETUP_SECTORS
        .skip setup + 0x201 - .
        .byte header_end - setup - 0x202 // the jump's displacement, which tells the header's end
        .ascii "HdrS"
        .word PROTOCOL_2_12
        .skip setup + 0x211 - .
        .byte LOADED_HIGH
        .skip setup + 0x214 - .
        .long image_begin
        .skip setup + 0x22c - .
        .long 0x7fffffff
        .long ALIGNMENT
        .byte 0 // not relocatable
        .skip setup + 0x238 - .
        .long 255 // of the command line
        .skip setup + 0x258 - .
        .quad image_begin
        .long image_size
        .skip setup + 0x268 - .
header_end:
        .skip setup + (SETUP_SECTORS + 1) * 512 - .

        .section .note.GNU-stack, "", @progbits
