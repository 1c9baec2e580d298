/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reference time: the counter, the page that is read instead, and what frequencies are said to be.
 * TLFS "Timers": "Reference Counter", "Partition Reference Time Enlightenment"; "Feature and
 * Interface Discovery" for the frequencies.
 *
 * Two clocks are compared by brackets: a reading of one lies between two of the other, however long
 * that takes.
 */
#include "abi/synic.h"
#include "tests/guests/conformance/guest.h"

#define READINGS 200u
#define UNITS_OF_A_SECOND 10000000ull
#define LEAST_UNITS 200000ull    /* 20 ms */
#define TIMER_DIVIDE_BY_128 0xau /* it doesn't run out meanwhile */
#define TIMER_DIVIDER 128u
#define TIMER_MASKED (1u << 16)
#define TIMER_MOST 0xffffffffu
#define PATTERN 0x5ca1ab1e0ddba11ull

static uint64_t read_counter(void) {
    return bare_read_msr(HV_X64_MSR_TIME_REF_COUNT);
}

/* In the order of the program. */
static uint64_t read_tsc_in_order(void) {
    __asm__ volatile("lfence" : : : "memory");
    const uint64_t tsc = bare_read_tsc();
    __asm__ volatile("lfence" : : : "memory");
    return tsc;
}

/* a * b / c with a product of 128 bits; the quotient fits. */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t quotient;
    uint64_t rest;
    __asm__("mulq %[b]\n\tdivq %[c]"
            : "=a"(quotient), "=&d"(rest)
            : "a"(a), [b] "r"(b), [c] "r"(c)
            : "cc");
    return quotient;
}

/* ---- The counter ---- */

static uint64_t other_counter;

static void read_counter_on_other(void) {
    other_counter = read_counter();
}

static void check_counter(void) {
    bool rises = true;
    for (unsigned i = 0; i < READINGS; ++i) {
        const uint64_t first = read_counter();
        rises = rises && read_counter() > first;
    }
    check("the counter rises with each reading", rises);
    bool is_one = true;
    for (unsigned i = 0; i < READINGS; ++i) {
        const uint64_t first = read_counter();
        run_on_other(read_counter_on_other);
        const uint64_t last = read_counter();
        is_one = is_one && first < other_counter && other_counter < last;
    }
    check("it rises for both processors as one", is_one);
    check_equal(
        "it is not written", (uint64_t)try_write_msr(HV_X64_MSR_TIME_REF_COUNT, 0), EXCEPTION_GP);
}

/* ---- Frequencies ---- */

struct bracket {
    uint64_t before, value, after;
};

static uint64_t read_apic_timer(void) {
    return (uint64_t)TIMER_DIVIDER * (TIMER_MOST - bare_read_apic(BARE_APIC_CURRENT_COUNT));
}

static struct bracket counter_within(uint64_t (*clock)(void)) {
    struct bracket bracket;
    bracket.before = clock();
    bracket.value = read_counter();
    bracket.after = clock();
    return bracket;
}

/* That a clock's ticks in some time are what its frequency says, to a hundredth. */
static void check_frequency(const char* what, uint64_t (*clock)(void), uint64_t frequency) {
    const struct bracket first = counter_within(clock);
    struct bracket last = first;
    while (last.value - first.value < LEAST_UNITS) {
        last = counter_within(clock);
    }
    const uint64_t units = last.value - first.value;
    const uint64_t least = last.before - first.after;
    const uint64_t most = last.after - first.before;
    const uint64_t said = scale(units, frequency, UNITS_OF_A_SECOND);
    check(what, said + said / 100 >= least && said - said / 100 <= most);
}

static void check_frequencies(void) {
    if (!has_privilege(HV_ACCESS_FREQUENCY_REGS)) {
        check_skipped("frequencies", NOT_ANNOUNCED);
        return;
    }
    check_frequency("the time-stamp counter has the frequency that it is said to have",
        read_tsc_in_order, bare_read_msr(HV_X64_MSR_TSC_FREQUENCY));
    bare_write_apic(BARE_APIC_TIMER, TIMER_MASKED | VECTOR_FENCE);
    bare_write_apic(BARE_APIC_DIVIDER, TIMER_DIVIDE_BY_128);
    bare_write_apic(BARE_APIC_INITIAL_COUNT, TIMER_MOST);
    check_frequency("the local APIC's timer has the frequency that it is said to have",
        read_apic_timer, bare_read_msr(HV_X64_MSR_APIC_FREQUENCY));
    bare_write_apic(BARE_APIC_INITIAL_COUNT, 0);
}

/* ---- The page ---- */

static _Alignas(BARE_PAGE_SIZE) volatile uint64_t tsc_page[BARE_PAGE_SIZE / sizeof(uint64_t)];

/* As the TLFS recommends it. */
static uint64_t read_page(void) {
    const volatile struct hv_reference_tsc_page* const page =
        (const volatile struct hv_reference_tsc_page*)tsc_page;
    for (;;) {
        const uint32_t sequence = page->tsc_sequence;
        if (sequence == 0) {
            return read_counter();
        }
        uint64_t low = read_tsc_in_order();
        uint64_t high;
        __asm__("mulq %[scale]" : "+a"(low), "=d"(high) : [scale] "r"(page->tsc_scale) : "cc");
        const uint64_t time = high + (uint64_t)page->tsc_offset;
        if (sequence == page->tsc_sequence) {
            return time;
        }
    }
}

static uint64_t other_time;

static void read_page_on_other(void) {
    other_time = read_page();
}

/* The page may be a unit behind or ahead: both are cut off to 100 ns. */
static bool is_between(uint64_t first, uint64_t time, uint64_t last) {
    return first <= time + 1 && time <= last + 1;
}

static void check_times(void) {
    if (*(volatile uint32_t*)(uintptr_t)address_of(tsc_page) == 0) {
        check_skipped("the page's time is the counter's", "the page says to read the counter");
        return;
    }
    bool here = true;
    bool there = true;
    for (unsigned i = 0; i < READINGS; ++i) {
        const uint64_t first = read_counter();
        const uint64_t time = read_page();
        here = here && is_between(first, time, read_counter());
        const uint64_t next = read_counter();
        run_on_other(read_page_on_other);
        there = there && is_between(next, other_time, read_counter());
    }
    check("the page's time is the counter's", here);
    check("and the same on the other processor", there);
}

static void check_page(void) {
    if (!has_privilege(HV_ACCESS_PARTITION_REFERENCE_TSC)) {
        check_skipped("the reference TSC page", NOT_ANNOUNCED);
        return;
    }
    mark(tsc_page, PATTERN);
    check_equal("the page is disabled at first", bare_read_msr(HV_X64_MSR_REFERENCE_TSC), 0);
    const uint64_t value = address_of(tsc_page) | HV_MSR_PAGE_ENABLE;
    bare_write_msr(HV_X64_MSR_REFERENCE_TSC, value);
    check_equal(
        "it is enabled where it was asked for", bare_read_msr(HV_X64_MSR_REFERENCE_TSC), value);
    check("it covers memory", tsc_page[0] != PATTERN);
    check_times();
    bare_write_msr(HV_X64_MSR_REFERENCE_TSC, 0);
    check_equal("when it is disabled, memory is as it was", tsc_page[0], PATTERN);
}

void bare_program(void) {
    guest_begin();
    if (!has_privilege(HV_ACCESS_PARTITION_REFERENCE_COUNTER)) {
        check_skipped("reference time", NOT_ANNOUNCED);
    } else if (start_other()) {
        check_counter();
        check_frequencies();
        check_page();
    }
    check_plan();
}
