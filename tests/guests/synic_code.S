// SPDX-License-Identifier: Apache-2.0
//
// A guest that lives on synthetic interrupts, and its handlers.
#include "tests/guests/guest_macros.inc"

        .section .rodata
        .code64

        // Writes the MSRs that RDI points to, pairs of number and value up to a zero; says 1, and
        // takes interrupts for ever.
        guest guest_takes_interrupts
1:      mov (%rdi), %rcx
        jrcxz 2f
        mov 8(%rdi), %eax
        mov 12(%rdi), %edx
        wrmsr
        add $16, %rdi
        jmp 1b
2:      say $1
3:      sti
        hlt
        jmp 3b
        end_guest guest_takes_interrupts

        .macro end_of_interrupt
        write_msr MSR_X2APIC_EOI, 0
        iretq
        .endm

        // The slot's message: says its type and the first two quadwords of its payload (their low
        // halves), frees the slot, says whether another one waits, and if so ends the message.
        .macro message_handler name, slot
        guest \name
        say \slot
        say \slot + 16
        say \slot + 24
        xor %eax, %eax
        xchg %eax, \slot
        movzbl \slot + 5, %eax
        and $1, %eax
        mov %eax, %ebx
        out %eax, $REPORT_PORT
        test %ebx, %ebx
        jz 1f
        write_msr MSR_EOM, 0
1:      end_of_interrupt
        end_guest \name
        .endm
        message_handler guest_handles_message_2, 0xa200
        message_handler guest_handles_message_4, 0xa400

        // The event flags of SINT 3: clears the lowest that is set, and says its number.
        guest guest_handles_events_3
        mov $0xb300, %rbx
        xor %edi, %edi
1:      bsf (%rbx,%rdi,4), %ecx
        jnz 2f
        inc %edi
        cmp $64, %edi
        jb 1b
        say $-1
        end_of_interrupt
2:      lock btr %ecx, (%rbx,%rdi,4)
        shl $5, %edi
        add %edi, %ecx
        say %ecx
        end_of_interrupt
        end_guest guest_handles_events_3

        // Says that it has been called.
        guest guest_handles_vector
        say $0x43
        end_of_interrupt
        end_guest guest_handles_vector

        // Leaves the guest, as many handlers do; ends the interrupt as the TLFS has it, with its VP
        // assist page at 0xd000; then says whether that went without an EOI.
        guest guest_handles_with_assist
        xor %eax, %eax
        cpuid
        xor %ebx, %ebx
        btrl $0, 0xd000
        setc %bl
        jc 1f
        write_msr MSR_X2APIC_EOI, 0
1:      say %ebx
        iretq
        end_guest guest_handles_with_assist

        // HvCallPostMessage with its input at 0xd000; says what came of it.
        guest guest_posts_message
        write_msr MSR_GUEST_OS_ID, 1
        write_msr MSR_HYPERCALL, 0x5001
        mov $HVCALL_POST_MESSAGE, %ecx
        mov $0xd000, %edx
        xor %r8d, %r8d
        mov $0x5000, %eax
        call *%rax
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_posts_message

        .section .note.GNU-stack, "", @progbits
