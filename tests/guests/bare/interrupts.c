/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guests/bare/internal.h"

#define CODE64 0x08u
#define DATA 0x10u
#define INTERRUPT_GATE 0x8e00u
#define STUB_SIZE 16u
#define PIC_MASK 0x21u
#define SECOND_PIC_MASK 0xa1u

extern const char bare_interrupt_stubs[];

struct gate {
    uint16_t offset_low, selector, flags, offset_middle;
    uint32_t offset_high, reserved;
};
static struct gate gates[256];
static bare_handler* handlers[256];

void bare_load_gates(void) {
    const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) table = {sizeof gates - 1, (uint64_t)gates};
    __asm__ volatile("lidt %0" : : "m"(table));
}

void bare_set_gates_up(void) {
    /* A machine with a PC's firmware may have left them on, with vectors of exceptions. */
    bare_out(PIC_MASK, 0xff);
    bare_out(SECOND_PIC_MASK, 0xff);
    for (unsigned i = 0; i < 256; ++i) {
        const uint64_t stub = (uint64_t)bare_interrupt_stubs + (uint64_t)i * STUB_SIZE;
        gates[i].offset_low = (uint16_t)stub;
        gates[i].selector = CODE64;
        gates[i].flags = INTERRUPT_GATE;
        gates[i].offset_middle = (uint16_t)(stub >> 16);
        gates[i].offset_high = (uint32_t)(stub >> 32);
    }
    bare_load_gates();
}

void bare_set_handler(uint8_t vector, bare_handler* handler) {
    handlers[vector] = handler;
}

/* What bare_catch() goes back to: its stack pointer and instruction pointer, or 0. */
static volatile struct {
    uint64_t rsp, rip;
    int vector;
} caught;

void bare_handle_interrupt(struct bare_frame* frame) {
    if (handlers[frame->vector] != NULL) {
        handlers[frame->vector](frame);
        return;
    }
    if (frame->vector < 32 && caught.rip != 0) {
        caught.vector = (int)frame->vector;
        frame->rip = caught.rip;
        frame->rsp = caught.rsp;
        frame->cs = CODE64;
        frame->ss = DATA;
        caught.rip = 0;
        return;
    }
    bare_print("Bail out! vector %u, error code %x, at %llx\n", (unsigned)frame->vector,
        (unsigned)frame->error_code, (unsigned long long)frame->rip);
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

int bare_catch(void (*call)(void*), void* argument) {
    caught.vector = -1;
    __asm__ volatile("lea 1f(%%rip), %%rax\n\t"
                     "push %%rbx\n\t"
                     "push %%rbp\n\t"
                     "push %%r12\n\t"
                     "push %%r13\n\t"
                     "push %%r14\n\t"
                     "push %%r15\n\t"
                     "mov %%rsp, %[rsp]\n\t"
                     "mov %%rax, %[rip]\n\t"
                     "mov %%rsp, %%rbx\n\t"
                     "and $-16, %%rsp\n\t"
                     "call *%%rsi\n\t"
                     "mov %%rbx, %%rsp\n\t"
                     "1: pop %%r15\n\t"
                     "pop %%r14\n\t"
                     "pop %%r13\n\t"
                     "pop %%r12\n\t"
                     "pop %%rbp\n\t"
                     "pop %%rbx"
                     : [rsp] "=m"(caught.rsp), [rip] "=m"(caught.rip), "+S"(call), "+D"(argument)
                     :
                     : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "cc", "memory");
    caught.rip = 0;
    return caught.vector;
}
