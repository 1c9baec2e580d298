/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hardware task switches in 32-bit protected mode: by CALL, JMP and IRET, and by task gates of
 * exceptions, interrupts and NMIs; with paging, to another address space. APM vol. 2,
 * 12.3 "Hardware Task-Management in Legacy Mode".
 */
#include "abi/cpuid.h"
#include "tests/guests/bare/bare.h"
#include "tests/guests/bare/tap.h"

#define CODE 0x00cf9b000000ffffull
#define DATA 0x00cf93000000ffffull
#define TASK 0x0000890000000000ull
#define TASK_GATE 0x0000850000000000ull
#define BUSY (2ull << 40)
#define FLAG_NESTED (1u << 14)
#define FLAG_TRAP (1u << 8)
#define FLAG_FIXED 2u
#define CR0_PG (1u << 31)
#define CR0_TS (1u << 3)
#define CR4_PSE (1u << 4)
#define LARGE_PAGE 0x83u
#define LARGE_PAGE_SIZE 0x400000u
#define ELSEWHERE 0x40000000u
#define COMMAND_SELF (1u << 18)
#define ROUNDS 10u

enum { SELECTOR_CODE = 0x08, SELECTOR_DATA = 0x10, SELECTOR_MAIN = 0x18 };
enum task_number {
    CALLED,
    JUMPED_TO,
    INVALID_OPCODE,
    PROTECTION,
    INTERRUPT,
    NMI,
    ELSEWHERE_TASK,
    TASKS
};
enum {
    VECTOR_NMI = 2,
    VECTOR_INVALID_OPCODE = 6,
    VECTOR_PROTECTION = 13,
    VECTOR_EXTERNAL = 0x40,
    VECTORS
};

struct task_state {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2;
    uint32_t cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt, io_map;
};
_Static_assert(offsetof(struct task_state, eip) == 0x20, "tasks_code.S has it so");

/* What a task notes of itself; tasks_code.S has it so. */
struct findings {
    uint32_t runs, task, flags, cr0, cr3, ldt, cpuid;
};

void task_called(void), task_jumped_to(void), task_of_invalid_opcode(void),
    task_of_protection(void), task_of_interrupt(void), task_of_nmi(void), task_elsewhere(void);

volatile struct findings found_by_called, found_by_jumped_to, found_by_invalid_opcode,
    found_by_protection, found_by_interrupt, found_by_nmi, found_by_elsewhere;
volatile uint32_t protection_error, nmis_within, elsewhere_read;
uint32_t elsewhere_from;
struct task_state main_task;

static struct task_state states[TASKS];
static _Alignas(16) char stacks[TASKS][1024];
static uint64_t table[SELECTOR_MAIN / 8 + 1 + TASKS] = {0, CODE, DATA};
static uint64_t gates[VECTORS];
static _Alignas(BARE_PAGE_SIZE) uint32_t own_pages[1024];
static _Alignas(BARE_PAGE_SIZE) uint32_t other_pages[1024];

static const struct {
    void (*code)(void);
    volatile struct findings* found;
} tasks[TASKS] = {
    [CALLED] = {task_called, &found_by_called},
    [JUMPED_TO] = {task_jumped_to, &found_by_jumped_to},
    [INVALID_OPCODE] = {task_of_invalid_opcode, &found_by_invalid_opcode},
    [PROTECTION] = {task_of_protection, &found_by_protection},
    [INTERRUPT] = {task_of_interrupt, &found_by_interrupt},
    [NMI] = {task_of_nmi, &found_by_nmi},
    [ELSEWHERE_TASK] = {task_elsewhere, &found_by_elsewhere},
};

static uint64_t task_descriptor(const struct task_state* state) {
    const uint64_t base = (uintptr_t)state;
    return TASK | (sizeof *state - 1) | (base & 0xffffff) << 16 | (base >> 24) << 56;
}

static uint32_t selector_of(enum task_number task) {
    return SELECTOR_MAIN + 8 * (1 + (uint32_t)task);
}

static uint64_t* descriptor_of(uint32_t selector) {
    return &table[selector / 8];
}

static void load_table(const uint64_t* at, uint32_t size, bool is_gates) {
    const struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) pointer = {(uint16_t)(size - 1), (uint32_t)(uintptr_t)at};
    if (is_gates) {
        __asm__ volatile("lidt %0" : : "m"(pointer));
    } else {
        __asm__ volatile("lgdt %0" : : "m"(pointer));
    }
}

static void prepare(void) {
    *descriptor_of(SELECTOR_MAIN) = task_descriptor(&main_task);
    for (unsigned i = 0; i < TASKS; ++i) {
        states[i] = (struct task_state){.eip = (uint32_t)(uintptr_t)tasks[i].code,
            .eflags = FLAG_FIXED,
            .esp = (uint32_t)(uintptr_t)(stacks[i] + sizeof stacks[i]),
            .es = SELECTOR_DATA,
            .cs = SELECTOR_CODE,
            .ss = SELECTOR_DATA,
            .ds = SELECTOR_DATA,
            .fs = SELECTOR_DATA,
            .gs = SELECTOR_DATA,
            .io_map = sizeof states[i] << 16};
        *descriptor_of(selector_of(i)) = task_descriptor(&states[i]);
    }
    gates[VECTOR_NMI] = TASK_GATE | (uint64_t)selector_of(NMI) << 16;
    gates[VECTOR_INVALID_OPCODE] = TASK_GATE | (uint64_t)selector_of(INVALID_OPCODE) << 16;
    gates[VECTOR_PROTECTION] = TASK_GATE | (uint64_t)selector_of(PROTECTION) << 16;
    gates[VECTOR_EXTERNAL] = TASK_GATE | (uint64_t)selector_of(INTERRUPT) << 16;
    load_table(table, sizeof table, false);
    load_table(gates, sizeof gates, true);
    __asm__ volatile("mov %0, %%ds\n\t"
                     "mov %0, %%es\n\t"
                     "mov %0, %%ss\n\t"
                     "mov %0, %%fs\n\t"
                     "mov %0, %%gs\n\t"
                     "ljmp %1, $1f\n\t"
                     "1: ltr %w2"
                     :
                     : "r"(SELECTOR_DATA), "i"(SELECTOR_CODE), "r"(SELECTOR_MAIN)
                     : "memory");
}

static bool is_busy(uint32_t selector) {
    return (*descriptor_of(selector) & BUSY) != 0;
}

static uint32_t current_task(void) {
    uint32_t selector;
    __asm__ volatile("str %0" : "=r"(selector));
    return selector & 0xffff;
}

static uint32_t flags(void) {
    uint32_t value;
    __asm__ volatile("pushfl\n\tpopl %0" : "=r"(value));
    return value;
}

/* A task that `nested` says was called, and has come back. */
static void check_task(const char* name, enum task_number task, unsigned runs, bool nested) {
    const volatile struct findings* const found = tasks[task].found;
    check_equal(check_words(name, "the task runs"), found->runs, runs);
    check_equal(check_words(name, "it is the task"), found->task, selector_of(task));
    check_equal(check_words(name, "it is nested, or not"), found->flags & FLAG_NESTED,
        nested ? FLAG_NESTED : 0);
    check_equal(
        check_words(name, "it is told that a task was switched"), found->cr0 & CR0_TS, CR0_TS);
    check_equal(check_words(name, "what it asks of others is answered"), found->cpuid,
        bare_cpuid(HV_CPUID_VENDOR_AND_MAX_FUNCTION, 0).ebx);
    if (nested) {
        check_equal(
            check_words(name, "it knows whence"), states[task].link & 0xffff, SELECTOR_MAIN);
    }
    check_equal(check_words(name, "it is left"), current_task(), SELECTOR_MAIN);
    check(check_words(name, "it may be entered again"),
        !is_busy(selector_of(task)) && is_busy(SELECTOR_MAIN));
    check_equal(check_words(name, "the first isn't nested"), flags() & FLAG_NESTED, 0);
}

#define KEPT 0x5ca1ab1eu

/* \return whether registers come back as they were. */
#define SWITCH(instruction, selector)                \
    __extension__({                                  \
        uint32_t kept_ = KEPT;                       \
        uint32_t other_ = ~KEPT;                     \
        __asm__ volatile(instruction " %2, $0"       \
                         : "+S"(kept_), "+D"(other_) \
                         : "i"(selector)             \
                         : "memory", "cc");          \
        kept_ == KEPT&& other_ == ~KEPT;             \
    })

static void check_call_and_jump(void) {
    bool kept = true;
    for (unsigned i = 0; i < ROUNDS; ++i) {
        kept = SWITCH("lcall", SELECTOR_MAIN + 8 * (1 + CALLED)) && kept;
    }
    check("CALL and IRET keep registers", kept);
    check_task("CALL:", CALLED, ROUNDS, true);
    kept = true;
    for (unsigned i = 0; i < ROUNDS; ++i) {
        kept = SWITCH("ljmp", SELECTOR_MAIN + 8 * (1 + JUMPED_TO)) && kept;
    }
    check("JMP there and back keeps registers", kept);
    check_task("JMP:", JUMPED_TO, ROUNDS, false);
}

static void check_exceptions(void) {
    for (unsigned i = 0; i < ROUNDS; ++i) {
        __asm__ volatile("ud2" : : : "memory");
    }
    check_task("#UD:", INVALID_OPCODE, ROUNDS, true);
    enum { no_selector = 0x7f8 };
    __asm__ volatile("mov %0, %%gs" : : "a"(no_selector) : "memory");
    check_task("#GP:", PROTECTION, 1, true);
    check_equal("#GP: its error code is on the task's stack", protection_error, no_selector);
    /* RDMSR's exception is none that the processor has found. */
    enum { no_msr = 0x1fff0000 };
    __asm__ volatile("rdmsr" : : "c"(no_msr) : "eax", "edx", "memory");
    check_equal("#GP of RDMSR: the task runs", found_by_protection.runs, 2);
    check_equal("#GP of RDMSR: its error code is 0", protection_error, 0);
}

static void check_interrupts(void) {
    for (unsigned i = 0; i < ROUNDS; ++i) {
        __asm__ volatile("int %0" : : "i"(VECTOR_EXTERNAL) : "memory");
    }
    check_task("INT:", INTERRUPT, ROUNDS, true);
    (void)bare_enable_apic(false);
    for (unsigned i = 1; i <= ROUNDS; ++i) {
        bare_send(0, COMMAND_SELF | VECTOR_EXTERNAL);
        while (found_by_interrupt.runs != ROUNDS + i) {
            bare_wait_for_interrupt();
        }
    }
    check_task("an external interrupt:", INTERRUPT, 2 * ROUNDS, true);
}

static void check_nmis(void) {
    enum { command_nmi = 0x400, soon = 100000, those_within = 1 };
    bare_send(0, COMMAND_SELF | command_nmi);
    for (unsigned i = 0; i < soon && found_by_nmi.runs < 1 + those_within; ++i) {
        (void)bare_cpuid(0, 0);
    }
    check_task("an NMI:", NMI, 1 + those_within, true);
    check_equal("of those within its task none comes before its end", nmis_within, 1);
    check_equal("no task that has ended is stepped through", found_by_nmi.flags & FLAG_TRAP, 0);
}

static void check_address_spaces(void) {
    for (uint32_t i = 0; i < sizeof own_pages / sizeof own_pages[0]; ++i) {
        own_pages[i] = i * LARGE_PAGE_SIZE | LARGE_PAGE;
        other_pages[i] = own_pages[i];
    }
    static const volatile uint32_t mark = KEPT;
    const uint32_t address = (uint32_t)(uintptr_t)&mark;
    other_pages[ELSEWHERE / LARGE_PAGE_SIZE] = (address & ~(LARGE_PAGE_SIZE - 1)) | LARGE_PAGE;
    elsewhere_from = ELSEWHERE + address % LARGE_PAGE_SIZE;
    for (unsigned i = 0; i < TASKS; ++i) {
        states[i].cr3 = (uint32_t)(uintptr_t)own_pages;
    }
    main_task.cr3 = (uint32_t)(uintptr_t)own_pages;
    states[ELSEWHERE_TASK].cr3 = (uint32_t)(uintptr_t)other_pages;
    __asm__ volatile("mov %%cr4, %%eax\n\t"
                     "or %0, %%eax\n\t"
                     "mov %%eax, %%cr4\n\t"
                     "mov %1, %%cr3\n\t"
                     "mov %%cr0, %%eax\n\t"
                     "or %2, %%eax\n\t"
                     "mov %%eax, %%cr0"
                     :
                     : "i"(CR4_PSE), "r"(own_pages), "i"(CR0_PG)
                     : "eax", "memory");
    check("with paging, registers are kept", SWITCH("lcall", SELECTOR_MAIN + 8 * (1 + CALLED)));
    check_task("CALL with paging:", CALLED, ROUNDS + 1, true);
    check("another address space, registers are kept",
        SWITCH("lcall", SELECTOR_MAIN + 8 * (1 + ELSEWHERE_TASK)));
    check_task("CALL to another address space:", ELSEWHERE_TASK, 1, true);
    check_equal("it is that of the task", found_by_elsewhere.cr3, (uint32_t)(uintptr_t)other_pages);
    check_equal("what it alone has is there", elsewhere_read, KEPT);
    uint32_t cr3;
    __asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
    check_equal("the first has its own again", cr3, (uint32_t)(uintptr_t)own_pages);
}

void bare_program(void) {
    prepare();
    check_call_and_jump();
    check_exceptions();
    check_interrupts();
    check_nmis();
    check_address_spaces();
    check_plan();
}
