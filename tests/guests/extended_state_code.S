// SPDX-License-Identifier: Apache-2.0
//
// Guests that fill registers with values of their own and look, again and again, whether they are
// still there: x87, XMM and YMM registers, and those for debugging.
#include "tests/guests/guest_macros.inc"

// Where the pieces are, from RDI.
#define ROUNDS 0     /* how often it has looked */
#define STOP 8       /* not 0: it shall say 0 and halt */
#define YMM 0x40     /* 16 values of 32 bytes */
#define X87 0x240    /* 8 values of 10 bytes, each in 16 */
#define SEEN 0x400   /* room for what FXSAVE stores, 16-byte aligned */
#define DEBUG 0x40   /* DR0 to DR3, and DR7 */

        .section .rodata
        .code64

        guest guest_keeps_extended_state
        // XSAVE on, and with it x87, SSE and AVX.
        mov %cr4, %rax
        or $0x40600, %rax
        mov %rax, %cr4
        xor %ecx, %ecx
        xor %edx, %edx
        mov $7, %eax
        xsetbv

        fninit
        .irp i, 7, 6, 5, 4, 3, 2, 1, 0
        fldt X87 + 16 * \i(%rdi)
        .endr
        .irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovdqu YMM + 32 * \i(%rdi), %ymm\i
        .endr

        // Each round: some time that others may take, then the look.
1:      mov $2000, %ecx
2:      dec %ecx
        jnz 2b

        .irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovdqu %ymm\i, SEEN(%rdi)
        mov $\i, %ebx
        lea YMM + 32 * \i(%rdi), %rsi
        call 5f
        .endr
        fxsave64 SEEN(%rdi)
        .irp i, 0, 1, 2, 3, 4, 5, 6, 7
        mov $(0x80 + \i), %ebx
        mov SEEN + 32 + 16 * \i(%rdi), %rax
        cmp X87 + 16 * \i(%rdi), %rax
        jne 7f
        mov SEEN + 32 + 16 * \i + 8(%rdi), %ax
        cmp X87 + 16 * \i + 8(%rdi), %ax
        jne 7f
        .endr

        incq ROUNDS(%rdi)
        cmpq $0, STOP(%rdi)
        je 1b
        say $0
        hlt

        // Compares the 32 bytes at RSI with what was seen.
5:      mov $3, %edx
6:      mov SEEN(%rdi,%rdx,8), %rax
        cmp (%rsi,%rdx,8), %rax
        jne 7f
        dec %edx
        jns 6b
        ret
        // Which register it was: 0x100 and its number, x87 ones from 0x80.
7:      or $0x100, %ebx
        say %ebx
        hlt
        end_guest guest_keeps_extended_state

        .macro check_debug_register number, offset
        mov %dr\number, %rax
        mov $(0x100 + \number), %ebx
        cmp DEBUG + \offset(%rdi), %rax
        jne 3f
        .endm

        guest guest_keeps_debug_registers
        .irp i, 0, 1, 2, 3
        mov DEBUG + 8 * \i(%rdi), %rax
        mov %rax, %dr\i
        .endr
        mov DEBUG + 32(%rdi), %rax
        mov %rax, %dr7
1:      mov $2000, %ecx
2:      dec %ecx
        jnz 2b
        check_debug_register 0, 0
        check_debug_register 1, 8
        check_debug_register 2, 16
        check_debug_register 3, 24
        check_debug_register 7, 32
        incq ROUNDS(%rdi)
        cmpq $0, STOP(%rdi)
        je 1b
        xor %ebx, %ebx
        // Which register it was: 0x100 and its number.
3:      say %ebx
        hlt
        end_guest guest_keeps_debug_registers

        .section .note.GNU-stack, "", @progbits
