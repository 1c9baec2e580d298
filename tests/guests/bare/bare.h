/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bare guests stand on: kernels of one program in plain C, which boot by the PVH entry on any
 * VMM and speak through the first serial port. They know nothing of the hypervisor but what the
 * TLFS says. Memory below 4 GiB is mapped where it is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BARE_PAGE_SIZE 4096u

/* The program: called with interrupts off on the first processor. When it returns, the guest halts.
 */
void bare_program(void);

/* ---- Instructions ---- */

struct bare_cpuid_result {
    uint32_t eax, ebx, ecx, edx;
};
static inline struct bare_cpuid_result bare_cpuid(uint32_t leaf, uint32_t sub_leaf) {
    struct bare_cpuid_result result;
    __asm__ volatile("cpuid"
                     : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
                     : "a"(leaf), "c"(sub_leaf));
    return result;
}
static inline uint64_t bare_read_msr(uint32_t number) {
    uint32_t low;
    uint32_t high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(number) : "memory");
    return low | (uint64_t)high << 32;
}
static inline void bare_write_msr(uint32_t number, uint64_t value) {
    __asm__ volatile("wrmsr"
                     :
                     : "c"(number), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}
static inline uint64_t bare_read_tsc(void) {
    uint32_t low;
    uint32_t high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return low | (uint64_t)high << 32;
}
static inline uint8_t bare_in(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
static inline void bare_out(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline uint32_t bare_read_mmio(uint64_t address) {
    uint32_t value;
    __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"((uintptr_t)address) : "memory");
    return value;
}
static inline void bare_write_mmio(uint64_t address, uint32_t value) {
    __asm__ volatile("movl %0, (%1)" : : "r"(value), "r"((uintptr_t)address) : "memory");
}
static inline void bare_allow_interrupts(void) {
    __asm__ volatile("sti" : : : "memory");
}
static inline void bare_forbid_interrupts(void) {
    __asm__ volatile("cli" : : : "memory");
}
/* Halts until an interrupt has been handled; interrupts are forbidden before and after. */
static inline void bare_wait_for_interrupt(void) {
    __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
}
static inline void bare_pause(void) {
    __asm__ volatile("pause" : : : "memory");
}

/* ---- Speaking ---- */

/* %s, %u and %x (unsigned), %llu and %llx (unsigned long long); no widths. */
void bare_print(const char* format, ...) __attribute__((format(printf, 1, 2)));

/* ---- Interrupts and exceptions ---- */

struct bare_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector;
    uint64_t error_code;
    uint64_t rip, cs, rflags, rsp, ss;
};
typedef void bare_handler(struct bare_frame* frame);

/* A vector without a handler ends the program with a line that says where. */
void bare_set_handler(uint8_t vector, bare_handler* handler);

/*
 * Runs `call(argument)`; an exception in it, or in what it calls, ends it. \return the vector, or
 * -1 if there was none. One at a time, on one processor. It may have been at CPL 3.
 */
int bare_catch(void (*call)(void*), void* argument);

/* ---- Local APIC, in its x2APIC mode where the processor has it ---- */

enum {
    BARE_APIC_ID = 0x2,
    BARE_APIC_TPR = 0x8,
    BARE_APIC_EOI = 0xb,
    BARE_APIC_SPURIOUS = 0xf,
    BARE_APIC_COMMAND = 0x30,
    BARE_APIC_TIMER = 0x32,
    BARE_APIC_INITIAL_COUNT = 0x38,
    BARE_APIC_CURRENT_COUNT = 0x39,
    BARE_APIC_DIVIDER = 0x3e,
    BARE_APIC_SELF = 0x3f,
};
#define BARE_APIC_BASE 0xfee00000u

/* Turns the APIC of this processor on. \return whether it is in x2APIC mode. */
bool bare_enable_apic(bool x2apic);
uint32_t bare_read_apic(unsigned number);
void bare_write_apic(unsigned number, uint32_t value);
/* A command with a destination: `low` as the register's low half, `apic_id` whom it is for. */
void bare_send(uint32_t apic_id, uint32_t low);

/* ---- Other processors ---- */

/*
 * Starts the processor with that APIC id, which calls `call` with its APIC on and in the same mode,
 * interrupts off, and halts when that returns. \return false if it does not come within some
 * seconds.
 */
bool bare_start_processor(uint32_t apic_id, void (*call)(void));
