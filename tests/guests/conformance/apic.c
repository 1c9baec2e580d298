/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers of the local APIC as MSRs, the VP assist page, and what a virtual processor is told of
 * itself. TLFS "Virtual Interrupt Controller": "Local APIC MSR Accesses", "EOI Assist"; "Virtual
 * Processors": "Virtual Processor Indices", "Virtual Processor Assist Page", "Virtual Processor Run
 * Time Register".
 */
#include "tests/guests/conformance/guest.h"

#define COMMAND_SELF (1ull << 18)
#define OTHER_DESTINATION (1ull << 56) /* of the high half, bits 31:24: APIC id 1 */
#define VECTOR_LOW 0x50u
#define VECTOR_HIGH 0x70u
#define PRIORITY_BETWEEN 0x60u
#define NO_EOI_REQUIRED 1u
#define PATTERN 0x5ca1ab1e0ddba11ull
#define ROUNDS 100u

static bool has_come(const void* vector) {
    return interrupts[0][*(const unsigned*)vector] != 0;
}

static bool other_has_come(const void* vector) {
    return interrupts[1][*(const unsigned*)vector] != 0;
}

/* ---- TPR, ICR, EOI ---- */

static uint64_t read_cr8(void) {
    uint64_t value;
    __asm__ volatile("mov %%cr8, %0" : "=r"(value));
    return value;
}

static void write_cr8(uint64_t value) {
    __asm__ volatile("mov %0, %%cr8" : : "r"(value) : "memory");
}

static void check_tpr(void) {
    bare_write_msr(HV_X64_MSR_TPR, PRIORITY_BETWEEN);
    check_equal("TPR reads as it was written", bare_read_msr(HV_X64_MSR_TPR), PRIORITY_BETWEEN);
    check_equal("it is the APIC's", bare_read_apic(BARE_APIC_TPR), PRIORITY_BETWEEN);
    check_equal("it is CR8", read_cr8(), PRIORITY_BETWEEN >> 4);
    write_cr8(2);
    check_equal("what CR8 is set to is TPR", bare_read_msr(HV_X64_MSR_TPR), 0x20);

    static const unsigned high = VECTOR_HIGH;
    static const unsigned low = VECTOR_LOW;
    bare_write_msr(HV_X64_MSR_TPR, PRIORITY_BETWEEN);
    send_to_self(VECTOR_LOW);
    send_to_self(VECTOR_HIGH);
    check("an interrupt above TPR comes", wait_until(has_come, &high));
    check_equal("one below it waits", interrupts[0][VECTOR_LOW], 0);
    bare_write_msr(HV_X64_MSR_TPR, 0);
    check("until TPR lets it come", wait_until(has_come, &low));
}

#define VECTOR_ICR 0x54u
#define VECTOR_ICR_OTHER 0x55u

static void check_icr(void) {
    static const unsigned own = VECTOR_ICR;
    static const unsigned others = VECTOR_ICR_OTHER;
    count_interrupts(VECTOR_ICR);
    count_interrupts(VECTOR_ICR_OTHER);
    bare_write_msr(HV_X64_MSR_ICR, COMMAND_SELF | VECTOR_ICR);
    check("ICR sends to itself", wait_until(has_come, &own));
    bare_write_msr(HV_X64_MSR_ICR, OTHER_DESTINATION | VECTOR_ICR_OTHER);
    check("ICR sends to the other processor", wait_until(other_has_come, &others));
    check_equal("ICR reads as it was written",
        bare_read_msr(HV_X64_MSR_ICR) & (0xffull << 56 | 0xff),
        OTHER_DESTINATION | VECTOR_ICR_OTHER);
    (void)take_interrupts();
    check_equal("and to no other", interrupts[0][VECTOR_ICR_OTHER], 0);
}

#define VECTOR_EOI 0x5au

static volatile unsigned ended;

static void end_by_msr(struct bare_frame* frame) {
    (void)frame;
    ++ended;
    bare_write_msr(HV_X64_MSR_EOI, 0);
}

static bool has_ended(const void* count) {
    return ended == *(const unsigned*)count;
}

/* Without its end an interrupt would keep the next, and the fence below it, from coming. */
static void check_eoi(void) {
    bare_set_handler(VECTOR_EOI, end_by_msr);
    bool all = true;
    for (unsigned i = 1; i <= ROUNDS && all; ++i) {
        send_to_self(VECTOR_EOI);
        all = wait_until(has_ended, &i) && take_interrupts();
    }
    check("EOI ends interrupts", all);
}

/* ---- The assist page ---- */

static _Alignas(BARE_PAGE_SIZE) volatile uint32_t assist_page[BARE_PAGE_SIZE / sizeof(uint32_t)];
static uint64_t other_assist;

static void read_assist_on_other(void) {
    other_assist = bare_read_msr(HV_X64_MSR_VP_ASSIST_PAGE);
}

static void check_assist_page(void) {
    volatile uint64_t* const page = (volatile uint64_t*)(uintptr_t)address_of(assist_page);
    mark(page, PATTERN);
    check_equal("the assist page is disabled at first",
        bare_read_msr(HV_X64_MSR_VP_ASSIST_PAGE) & HV_MSR_PAGE_ENABLE, 0);
    const uint64_t value = address_of(assist_page) | HV_MSR_PAGE_ENABLE;
    bare_write_msr(HV_X64_MSR_VP_ASSIST_PAGE, value);
    check_equal(
        "it is enabled where it was asked for", bare_read_msr(HV_X64_MSR_VP_ASSIST_PAGE), value);
    check_equal("it shows no mark at first", assist_page[0], 0);
    run_on_other(read_assist_on_other);
    check_equal("the other processor has one of its own", other_assist & HV_MSR_PAGE_ENABLE, 0);
    bare_write_msr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
    check_equal("when it is disabled, memory is as it was", page[0], PATTERN);
    bare_write_msr(HV_X64_MSR_VP_ASSIST_PAGE, value);
}

/* Takes the mark that no EOI is required, as the TLFS has it; \return whether it was there. */
static bool take_mark(void) {
    bool was_there;
    __asm__ volatile("btrl $0, %0" : "+m"(assist_page[0]), "=@ccc"(was_there) : : "memory");
    return was_there;
}

#define VECTOR_ASSISTED 0x5bu

static volatile unsigned marked;

static void end_by_mark(struct bare_frame* frame) {
    (void)frame;
    ++ended;
    if (take_mark()) {
        ++marked;
    } else {
        bare_write_msr(HV_X64_MSR_EOI, 0);
    }
}

static volatile bool mark_went;

/* Asks for an interrupt of lower priority, for which there has to be an EOI. */
static void ask_for_lower(struct bare_frame* frame) {
    (void)frame;
    ++ended;
    send_to_self(VECTOR_LOW);
    mark_went = (assist_page[0] & NO_EOI_REQUIRED) == 0;
    bare_write_msr(HV_X64_MSR_EOI, 0);
}

static bool low_has_come(const void* before) {
    return interrupts[0][VECTOR_LOW] != *(const unsigned*)before;
}

static void end_in_spite_of_mark(struct bare_frame* frame) {
    (void)frame;
    ++ended;
    end_interrupt();
}

static void check_assist(void) {
    bool all = true;
    ended = 0;
    bare_set_handler(VECTOR_ASSISTED, end_by_mark);
    for (unsigned i = 1; i <= ROUNDS && all; ++i) {
        send_to_self(VECTOR_ASSISTED);
        all = wait_until(has_ended, &i) && take_interrupts();
    }
    check("interrupts end by the mark, or by EOI without it", all);
    check_at_least("the mark is made for interrupts without others", marked, 1);

    static const unsigned once = 1;
    const unsigned before = interrupts[0][VECTOR_LOW];
    ended = 0;
    bare_set_handler(VECTOR_ASSISTED, ask_for_lower);
    send_to_self(VECTOR_ASSISTED);
    check("one with a lower one behind it comes", wait_until(has_ended, &once));
    check("the mark goes when a lower one is requested", mark_went);
    check("the lower one comes after the EOI", wait_until(low_has_come, &before));

    ended = 0;
    bare_set_handler(VECTOR_ASSISTED, end_in_spite_of_mark);
    send_to_self(VECTOR_ASSISTED);
    check("the APIC's EOI ends an interrupt in spite of the mark",
        wait_until(has_ended, &once) && take_interrupts());
    bare_write_msr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
}

/* ---- Of itself ---- */

static uint64_t other_index;

static void read_index_on_other(void) {
    other_index = bare_read_msr(HV_X64_MSR_VP_INDEX);
}

static void check_index(void) {
    if (!has_privilege(HV_ACCESS_VP_INDEX)) {
        check_skipped("VP indexes", NOT_ANNOUNCED);
        return;
    }
    const uint32_t most = bare_cpuid(HV_CPUID_IMPLEMENTATION_LIMITS, 0).eax;
    const uint64_t index = bare_read_msr(HV_X64_MSR_VP_INDEX);
    run_on_other(read_index_on_other);
    check("each processor has an index of its own", index != other_index);
    check("indexes are within the limits, where they are told",
        most == 0 || (index < most && other_index < most));
    check_equal("an index stays", bare_read_msr(HV_X64_MSR_VP_INDEX), index);
}

static bool has_run(const void* before) {
    return bare_read_msr(HV_X64_MSR_VP_RUNTIME) > *(const uint64_t*)before;
}

static void check_run_time(void) {
    if (!has_privilege(HV_ACCESS_VP_RUN_TIME_REG)) {
        check_skipped("run time", NOT_ANNOUNCED);
        return;
    }
    uint64_t last = bare_read_msr(HV_X64_MSR_VP_RUNTIME);
    bool never_falls = true;
    for (unsigned i = 0; i < ROUNDS; ++i) {
        const uint64_t now = bare_read_msr(HV_X64_MSR_VP_RUNTIME);
        never_falls = never_falls && now >= last;
        last = now;
    }
    check("the run time never falls", never_falls);
    check("a processor that runs has more of it", wait_until(has_run, &last));
}

void bare_program(void) {
    guest_begin();
    count_interrupts(VECTOR_LOW);
    count_interrupts(VECTOR_HIGH);
    if (start_other()) {
        if (has_privilege(HV_ACCESS_INTR_CTRL_REGS)) {
            check_tpr();
            check_icr();
            check_eoi();
            check_assist_page();
            check_assist();
        } else {
            check_skipped("registers of the APIC", NOT_ANNOUNCED);
        }
        check_index();
        check_run_time();
    }
    check_plan();
}
