/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guests/conformance/user_mode.h"

#include "tests/guests/bare/bare.h"

#define CODE64 0x00af9b000000ffffull
#define DATA 0x00cf93000000ffffull
#define OF_USER (3ull << 45)
#define TASK_STATE_TYPE (0x89ull << 40)
#define SELECTOR_USER_DATA (0x18u | 3u)
#define SELECTOR_USER_CODE (0x20u | 3u)
#define SELECTOR_TASK_STATE 0x28u
#define ENTRY_USER 4u
#define ENTRY_PRESENT 1u
#define ENTRY_LARGE 0x80u
#define ENTRY_ADDRESS 0x000ffffffffff000ull
#define ENTRIES 512u
#define NO_ADDRESS (1ull << 63)

extern volatile uint64_t bare_page_tables[ENTRIES];

/* The selectors of start.S first. A system descriptor takes two entries. */
static uint64_t table[7] = {0, CODE64, DATA, DATA | OF_USER, CODE64 | OF_USER};
static struct {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t others[9];
    uint16_t reserved1, io_map;
} __attribute__((packed)) task_state;
static _Alignas(16) char exception_stack[4096];
static _Alignas(16) uint64_t user_stack[512];

static void open_table(volatile uint64_t* entries, unsigned level) {
    for (unsigned i = 0; i < ENTRIES; ++i) {
        if ((entries[i] & ENTRY_PRESENT) == 0) {
            continue;
        }
        if (level > 1 && (entries[i] & ENTRY_LARGE) == 0) {
            open_table((volatile uint64_t*)(entries[i] & ENTRY_ADDRESS), level - 1);
        }
        entries[i] |= ENTRY_USER;
    }
}

void user_mode_allow(void) {
    enum { levels = 4 };
    open_table(bare_page_tables, levels);
    __asm__ volatile("mov %0, %%cr3" : : "r"(bare_page_tables) : "memory");
    const uint64_t base = (uint64_t)&task_state;
    task_state.rsp[0] = (uint64_t)(exception_stack + sizeof exception_stack);
    task_state.io_map = sizeof task_state;
    table[5] = TASK_STATE_TYPE | (sizeof task_state - 1) | (base & 0xffffff) << 16 |
        (base >> 24 & 0xff) << 56;
    table[6] = base >> 32;
    const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = {sizeof table - 1, (uint64_t)table};
    __asm__ volatile("lgdt %0\n\tltr %w1" : : "m"(pointer), "r"(SELECTOR_TASK_STATE));
}

/* Comes back by an exception alone: the code's own return is to an address that is none. */
static void enter(void* code) {
    __asm__ volatile("push %[data]\n\t"
                     "push %[stack]\n\t"
                     "pushf\n\t"
                     "push %[selector]\n\t"
                     "push %[code]\n\t"
                     "iretq"
                     :
                     : [data] "r"((uint64_t)SELECTOR_USER_DATA), [stack] "r"(&user_stack[511]),
                     [selector] "r"((uint64_t)SELECTOR_USER_CODE), [code] "r"(code)
                     : "memory");
}

int user_mode_call(const void* code) {
    user_stack[511] = NO_ADDRESS;
    return bare_catch(enter, (void*)(uintptr_t)code);
}
