/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single steps, breakpoints and NMIs, also where instructions are carried out by somebody else than
 * the processor. APM vol. 2, 13.1 "Software-Debug Resources", 8.2.3 "NMI"; SDM vol. 3, 17.3.1.
 */
#include "tests/guests/conformance/guest.h"

#define EXCEPTION_DB 1u
#define EXCEPTION_NMI 2u
#define RFLAGS_TF (1u << 8)
#define RFLAGS_RF (1u << 16)
#define DR6_SINGLE_STEP (1u << 14)
#define DR6_CLEAR 0xffff0ff0u
#define DR7_CLEAR 0x400u
#define DR7_WRITE 1u
#define DR7_ACCESS 3u
#define DR7_FOUR_BYTES 3u
#define COMMAND_SELF (1u << 18)
#define COMMAND_NMI 0x400u
#define OTHER_APIC_ID 1u
#define MOST_STEPS 64u
#define PATTERN 0x5ca1ab1eu

extern const uint64_t debug_steps[], debug_steps_end[];
extern const char debug_at_cpuid[], debug_behind_cpuid[];
void debug_stepped(void);
void debug_passes(void);

/* ---- Registers ---- */

#define DEBUG_REGISTER(number)                                              \
    static uint64_t read_dr##number(void) {                                 \
        uint64_t value;                                                     \
        __asm__ volatile("mov %%dr" #number ", %0" : "=r"(value));          \
        return value;                                                       \
    }                                                                       \
    static void write_dr##number(uint64_t value) {                          \
        __asm__ volatile("mov %0, %%dr" #number : : "r"(value) : "memory"); \
    }
DEBUG_REGISTER(0)
DEBUG_REGISTER(1)
DEBUG_REGISTER(2)
DEBUG_REGISTER(3)
DEBUG_REGISTER(6)
DEBUG_REGISTER(7)

/* DR7's bits that enable a breakpoint; `kind` and `size` as it has them. */
static uint64_t breakpoint(unsigned number, unsigned kind, unsigned size) {
    return 2ull << (2 * number) | (uint64_t)(kind | size << 2) << (16 + 4 * number);
}

/* ---- What comes ---- */

static struct { uint64_t rip, dr6; } volatile traps[MOST_STEPS];
static volatile unsigned trap_count;

static void note_trap(struct bare_frame* frame) {
    if (trap_count < MOST_STEPS) {
        traps[trap_count].rip = frame->rip;
        traps[trap_count].dr6 = read_dr6();
    }
    ++trap_count;
    write_dr6(DR6_CLEAR);
    frame->rflags |= RFLAGS_RF; /* a breakpoint at this instruction has been told */
}

static void check_steps(void) {
    const unsigned steps = (unsigned)(debug_steps_end - debug_steps);
    trap_count = 0;
    debug_stepped();
    /* The last instruction turns stepping off, and is the last that is stepped over. */
    check_equal("each instruction is stepped over once", trap_count, steps);
    bool in_order = true;
    bool are_steps = true;
    for (unsigned i = 0; i < steps && i < trap_count && i < MOST_STEPS; ++i) {
        if (in_order && traps[i].rip != debug_steps[i]) {
            bare_print("# step %u ends at %llx, expected %llx\n", i,
                (unsigned long long)traps[i].rip, (unsigned long long)debug_steps[i]);
        }
        in_order = in_order && traps[i].rip == debug_steps[i];
        are_steps = are_steps && (traps[i].dr6 & 0xf) == 0 && (traps[i].dr6 & DR6_SINGLE_STEP) != 0;
    }
    check("each step ends behind its instruction", in_order);
    check("each is told as a step", are_steps);
}

static void check_code_breakpoints(void) {
    trap_count = 0;
    write_dr0(address_of(debug_at_cpuid));
    write_dr3(address_of(debug_behind_cpuid));
    write_dr7(DR7_CLEAR | breakpoint(0, 0, 0) | breakpoint(3, 0, 0));
    debug_passes();
    write_dr7(DR7_CLEAR);
    check_equal("each breakpoint is hit once", trap_count, 2);
    check_equal("one at CPUID before it", traps[0].rip, address_of(debug_at_cpuid));
    check_equal("it is told", traps[0].dr6 & 0xf, 1);
    check_equal("the next behind it", traps[1].rip, address_of(debug_behind_cpuid));
    check_equal("it is told, too", traps[1].dr6 & 0xf, 1u << 3);
    trap_count = 0;
    debug_passes();
    check_equal("none is hit when they are off", trap_count, 0);
}

static volatile uint32_t watched;

static void check_data_breakpoints(void) {
    trap_count = 0;
    write_dr1(address_of(&watched));
    write_dr7(DR7_CLEAR | breakpoint(1, DR7_WRITE, DR7_FOUR_BYTES));
    uint32_t seen = watched;
    check_equal("a breakpoint of writes is not hit by a read", trap_count, 0);
    watched = seen + 1;
    check_equal("it is hit by a write", trap_count, 1);
    check_equal("that is told", traps[0].dr6 & 0xf, 1u << 1);
    (void)bare_cpuid(0, 0);
    *(volatile uint8_t*)&watched = 5;
    check_equal("behind an exit, too, and by a part", trap_count, 2);
    write_dr2(address_of(&watched));
    write_dr7(DR7_CLEAR | breakpoint(2, DR7_ACCESS, DR7_FOUR_BYTES));
    trap_count = 0;
    seen = watched;
    check_equal("a breakpoint of accesses is hit by a read", trap_count, 1);
    check_equal("it is the one that is told", traps[0].dr6 & 0xf, 1u << 2);
    write_dr7(DR7_CLEAR);
    watched = seen;
    check_equal("none is hit when it is off", trap_count, 1);
}

/* ---- Registers of two processors ---- */

static volatile uint64_t other_registers[5];

static void set_registers(uint64_t pattern) {
    write_dr0(pattern);
    write_dr1(pattern + 0x1000);
    write_dr2(pattern + 0x2000);
    write_dr3(pattern + 0x3000);
}

static void read_on_other(void) {
    other_registers[0] = read_dr0();
    other_registers[1] = read_dr1();
    other_registers[2] = read_dr2();
    other_registers[3] = read_dr3();
    other_registers[4] = read_dr7();
    set_registers(~(uint64_t)PATTERN);
}

static void check_two_processors(void) {
    set_registers(PATTERN);
    write_dr7(DR7_CLEAR | breakpoint(0, DR7_WRITE, DR7_FOUR_BYTES));
    run_on_other(read_on_other);
    check("another processor begins without breakpoints",
        (other_registers[0] | other_registers[1] | other_registers[2] | other_registers[3]) == 0);
    check_equal("and with none enabled", other_registers[4], DR7_CLEAR);
    check("its registers are its own",
        read_dr0() == PATTERN && read_dr1() == PATTERN + 0x1000 && read_dr2() == PATTERN + 0x2000 &&
            read_dr3() == PATTERN + 0x3000);
    check_equal(
        "what was enabled is", read_dr7(), DR7_CLEAR | breakpoint(0, DR7_WRITE, DR7_FOUR_BYTES));
    write_dr7(DR7_CLEAR);
}

/* ---- NMIs ---- */

static volatile unsigned nmis;
static volatile unsigned nmis_within;
static volatile bool sends_within;

static void take_nmi(struct bare_frame* frame) {
    (void)frame;
    ++nmis;
    if (sends_within) {
        sends_within = false;
        const unsigned before = nmis;
        bare_send(0, COMMAND_SELF | COMMAND_NMI);
        bare_send(0, COMMAND_SELF | COMMAND_NMI);
        (void)bare_cpuid(0, 0);
        nmis_within = nmis - before;
    }
}

static bool has_come(const void* count) {
    return nmis == *(const unsigned*)count;
}

static void send_nmi_to_first(void) {
    bare_send(0, COMMAND_NMI);
}

/* Again and again, as the first may come before the processor has halted. */
static volatile bool was_woken;

static void send_until_woken(void) {
    while (!was_woken) {
        bare_send(0, COMMAND_NMI);
        for (unsigned i = 0; i < 1000; ++i) {
            bare_pause();
        }
    }
}

static void check_nmis(void) {
    static const unsigned one = 1;
    static const unsigned three = 3;
    static const unsigned four = 4;
    bare_set_handler(EXCEPTION_NMI, take_nmi);
    bare_send(0, COMMAND_SELF | COMMAND_NMI);
    check("an NMI comes while interrupts are off", has_come(&one));
    sends_within = true;
    bare_send(0, COMMAND_SELF | COMMAND_NMI);
    check("of those within its handler one comes behind it", wait_until(has_come, &three));
    check_equal("and none within it", nmis_within, 0);
    run_on_other(send_nmi_to_first);
    check("one of another processor comes", wait_until(has_come, &four));
    begin_on_other(send_until_woken);
    __asm__ volatile("hlt" : : : "memory");
    was_woken = true;
    wait_for_other();
    check("one wakes a processor that has halted with interrupts off", nmis > four);
}

void bare_program(void) {
    guest_begin();
    bare_set_handler(EXCEPTION_DB, note_trap);
    check_steps();
    check_code_breakpoints();
    check_data_breakpoints();
    if (start_other()) {
        check_two_processors();
        check_nmis();
    }
    check_plan();
}
