// SPDX-License-Identifier: Apache-2.0
//
// Small guests, one to a test.
#include "tests/guests/guest_macros.inc"

        .section .rodata

        // Real mode: one byte, then halt.
        .code16
        guest guest_real_mode
        mov $'U', %al
        out %al, $REPORT_PORT
        hlt
        end_guest guest_real_mode

        // 32-bit protected mode: adds what it finds at 0x3000 and 0x3004, and says the sum.
        .code32
        guest guest_protected_mode
        mov 0x3000, %eax
        add 0x3004, %eax
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_protected_mode

        // Writes to each address in the list that EDI points to, up to a zero, and says 1; again and
        // again.
        guest guest_writes_pages
1:      mov (%edi), %eax
        test %eax, %eax
        jz 2f
        incl (%eax)
        add $4, %edi
        jmp 1b
2:      say $1
        jmp 1b
        end_guest guest_writes_pages

        // Long mode: reads, writes and jumps where RDI says.
        .code64
        guest guest_read
        mov (%rdi), %rax
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_read

        guest guest_reads_twice
        mov (%rdi), %rax
        out %eax, $REPORT_PORT
        mov (%rdi), %rax
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_reads_twice

        guest guest_write
        mov %rax, (%rdi)
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_write

        guest guest_jump
        jmp *%rdi
        end_guest guest_jump

        // No interrupt table, and an interrupt: a triple fault.
        guest guest_triple_fault
        ud2
        end_guest guest_triple_fault

        // Signals connection EDI, ESI times, and says the last result.
        guest guest_signal
        write_msr MSR_GUEST_OS_ID, 1
        write_msr MSR_HYPERCALL, 0x5001
1:      mov $HVCALL_SIGNAL_EVENT_FAST, %ecx
        mov %rdi, %rdx
        xor %r8d, %r8d
        mov $0x5000, %eax
        call *%rax
        dec %esi
        jnz 1b
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_signal

        // Starts processor 1 at page 8 by INIT and SIPI, says so, and halts.
        guest guest_starts_another
        mov $MSR_X2APIC_ICR, %ecx
        mov $1, %edx
        mov $0x4500, %eax
        wrmsr
        mov $1, %edx
        mov $0x4608, %eax
        wrmsr
        mov $1, %eax
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_starts_another

        // The same by the xAPIC's page, which RDI points to.
        guest guest_starts_another_by_page
        movl $0x1ff, 0xf0(%rdi)
        movl $0x01000000, 0x310(%rdi)
        movl $0x4500, 0x300(%rdi)
        movl $0x01000000, 0x310(%rdi)
        movl $0x4608, 0x300(%rdi)
        mov 0x30(%rdi), %eax
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_starts_another_by_page

        // Says the reference time, twice, with RDI rounds of nothing between.
        guest guest_clock
1:      mov $MSR_TIME_REF_COUNT, %ecx
        rdmsr
        shl $32, %rdx
        or %rdx, %rax
        mov %rax, %rbx
        out %eax, $REPORT_PORT
        jmp 1b
        end_guest guest_clock

        // Adds 1.0 to XMM0 and says its bits.
        guest guest_floating_point
        addsd (%rdi), %xmm0
        movq %xmm0, %rax
        mov %rax, %rbx
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_floating_point

        // Never stops by itself.
        guest guest_spins
1:      incq (%rdi)
        jmp 1b
        end_guest guest_spins

        // Makes the hypercall RBX with input and output at RDI and RSI, and says its status.
        guest guest_hypercall
        write_msr MSR_GUEST_OS_ID, 1
        write_msr MSR_HYPERCALL, 0x5001
        mov %rbx, %rcx
        mov %rdi, %rdx
        mov %rsi, %r8
        mov $0x5000, %eax
        call *%rax
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_hypercall

        // Says what CPUID answers for the leaf EDI.
        guest guest_asks_cpuid
        mov %edi, %eax
        xor %ecx, %ecx
        cpuid
        out %eax, $REPORT_PORT
        mov %ebx, %eax
        out %eax, $REPORT_PORT
        mov %ecx, %eax
        out %eax, $REPORT_PORT
        mov %edx, %eax
        out %eax, $REPORT_PORT
        hlt
        end_guest guest_asks_cpuid

        // Reads the MSR EDI, if RSI is 0, or writes RSI to it, and says 1.
        guest guest_touches_msr
        mov %edi, %ecx
        mov %esi, %eax
        xor %edx, %edx
        test %esi, %esi
        jnz 1f
        rdmsr
        jmp 2f
1:      wrmsr
2:      say $1
        hlt
        end_guest guest_touches_msr

        // Says by how much the reference TSC page, laid at RDI, is ahead of the register, again and
        // again.
        guest guest_two_clocks
        mov %rdi, %rax
        or $1, %eax
        xor %edx, %edx
        mov $MSR_REFERENCE_TSC, %ecx
        wrmsr
1:      mov $MSR_TIME_REF_COUNT, %ecx
        rdmsr
        shl $32, %rdx
        or %rdx, %rax
        mov %rax, %rbx
        rdtsc
        shl $32, %rdx
        or %rdx, %rax
        mulq 8(%rdi)
        add 16(%rdi), %rdx
        sub %rbx, %rdx
        mov %edx, %eax
        out %eax, $REPORT_PORT
        jmp 1b
        end_guest guest_two_clocks

        // What the hostile guest's interrupt table points to.
        guest guest_hostile_exception
        mov %gs:8, %rsp
        jmp *%gs:0
        end_guest guest_hostile_exception

        guest guest_hostile_interrupt
        push %rax
        push %rcx
        push %rdx
        write_msr MSR_EOI, 0
        pop %rdx
        pop %rcx
        pop %rax
        iretq
        end_guest guest_hostile_interrupt

        .section .note.GNU-stack, "", @progbits
