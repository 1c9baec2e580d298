// SPDX-License-Identifier: Apache-2.0
//
// Guests that end in an exception, and the handlers that say which it was.

#include "tests/guests/guest_macros.inc"

        .section .rodata
        .code64

        guest guest_nops
        nop
        nop
        hlt
        end_guest guest_nops

        guest guest_reads_performance_counter
        xor %ecx, %ecx
        rdpmc
        hlt
        end_guest guest_reads_performance_counter

        // RDPRU, which GNU as of Debian 12 knows under a switch only.
        guest guest_reads_processor_counter
        xor %ecx, %ecx
        .byte 0x0f, 0x01, 0xfd
        hlt
        end_guest guest_reads_processor_counter

        // Says its vector, then the RIP on the stack, which is behind the error code if there is
        // one, then DR6.
        .macro handler vector, error_code_size
        .balign 32
        mov $\vector, %eax
        out %eax, $REPORT_PORT
        mov \error_code_size(%rsp), %rax
        out %eax, $REPORT_PORT
        mov %dr6, %rax
        out %eax, $REPORT_PORT
        hlt
        .endm

        // One every 32 bytes: #DB, #UD, #GP.
        .balign 32
        .globl guest_handlers, guest_handlers_end
guest_handlers:
        handler 1, 0
        handler 6, 0
        handler 13, 8
guest_handlers_end:

        .section .note.GNU-stack, "", @progbits
