/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world switch alone, on the bare machine: a guest that does nothing but leave again. Nobody's
 * exits cost less. A line "row NAME TICKS", then "done". Layouts are those of the AMD64
 * Architecture Programmer's Manual, volume 2, appendix B.
 */
#include "tests/guests/bare/bare.h"

#define SAMPLES 201u
#define MSR_EFER 0xc0000080u
#define EFER_SVME (1u << 12)
#define MSR_VM_HSAVE_PA 0xc0010117u
#define VMCB_INTERCEPTS_4 0x010u /* VMRUN is bit 0, VMMCALL bit 1 */
#define VMCB_ASID 0x058u
#define VMCB_STATE 0x400u
#define STATE_CS 0x010u
#define STATE_EFER 0x0d0u
#define STATE_CR4 0x148u
#define STATE_CR3 0x150u
#define STATE_CR0 0x158u
#define STATE_DR7 0x160u
#define STATE_DR6 0x168u
#define STATE_RFLAGS 0x170u
#define STATE_RIP 0x178u
#define STATE_RSP 0x1d8u
#define STATE_PAT 0x268u
#define CODE_ATTRIBUTES 0xa9bu
#define DATA_ATTRIBUTES 0xc93u

extern char bare_page_tables[];

static _Alignas(BARE_PAGE_SIZE) volatile uint64_t vmcb[BARE_PAGE_SIZE / sizeof(uint64_t)];
static _Alignas(BARE_PAGE_SIZE) char host_state[BARE_PAGE_SIZE];
static char stack[256];
static uint64_t samples[SAMPLES];

static void put(unsigned offset, uint64_t value) {
    vmcb[offset / sizeof(uint64_t)] = value;
}

static uint64_t read_control(unsigned which) {
    uint64_t value;
    if (which == 0) {
        __asm__("mov %%cr0, %0" : "=r"(value));
    } else {
        __asm__("mov %%cr4, %0" : "=r"(value));
    }
    return value;
}

static void set_segment(unsigned number, uint64_t selector, uint64_t attributes) {
    put(VMCB_STATE + number * 16, selector | attributes << 16 | 0xffffffffull << 32);
}

/* A guest on the same page tables, whose code is an endless loop of VMMCALL. */
__asm__(".text\nguest_code: vmmcall\n\tjmp guest_code\n");
extern const char guest_code[];

static void prepare(void) {
    bare_write_msr(MSR_EFER, bare_read_msr(MSR_EFER) | EFER_SVME);
    bare_write_msr(MSR_VM_HSAVE_PA, (uint64_t)host_state);
    put(VMCB_INTERCEPTS_4, 3);
    put(VMCB_ASID, 1);
    set_segment(0, 0x10, DATA_ATTRIBUTES);
    set_segment(1, 0x08, CODE_ATTRIBUTES);
    set_segment(2, 0x10, DATA_ATTRIBUTES);
    set_segment(3, 0x10, DATA_ATTRIBUTES);
    put(VMCB_STATE + STATE_EFER, bare_read_msr(MSR_EFER));
    put(VMCB_STATE + STATE_CR0, read_control(0));
    put(VMCB_STATE + STATE_CR3, (uint64_t)bare_page_tables);
    put(VMCB_STATE + STATE_CR4, read_control(4));
    put(VMCB_STATE + STATE_DR6, 0xffff0ff0);
    put(VMCB_STATE + STATE_DR7, 0x400);
    put(VMCB_STATE + STATE_RFLAGS, 2);
    put(VMCB_STATE + STATE_RSP, (uint64_t)(stack + sizeof stack));
    put(VMCB_STATE + STATE_PAT, 0x0007040600070406);
}

static void switch_there_and_back(void) {
    put(VMCB_STATE + STATE_RIP, (uint64_t)guest_code);
    __asm__ volatile("vmrun" : : "a"(vmcb) : "memory");
}

void bare_program(void) {
    prepare();
    uint64_t least = ~0ull;
    for (unsigned i = 0; i < SAMPLES; ++i) {
        const uint64_t begin = bare_read_tsc();
        switch_there_and_back();
        samples[i] = bare_read_tsc() - begin;
        least = samples[i] < least ? samples[i] : least;
    }
    bare_print("row bare-switch %llu\ndone\n", (unsigned long long)least);
}
