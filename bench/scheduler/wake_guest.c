/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An idle guest that a timer wakes: how late it runs then. The timer is the local APIC's, which
 * counts on from anew when it expires, so that its count tells; in ticks of the time-stamp counter.
 * A line "row NAME TICKS" for the median, and for the one in twenty that is later than the others;
 * then "done".
 */
#include "tests/guests/bare/bare.h"

#define SAMPLES 201u
#define WARM_UP 10u
#define VECTOR_TIMER 0x41u
#define TIMER_PERIODIC (1u << 17)
#define TIMER_MASKED (1u << 16)
#define TIMER_DIVIDE_BY_1 0xbu
#define LEAST_PERIOD_TICKS 20000000u /* of the time-stamp counter */

static uint32_t late[SAMPLES + WARM_UP];
static volatile uint32_t count;
static uint32_t period;

static void take(struct bare_frame* frame) {
    (void)frame;
    const uint32_t left = bare_read_apic(BARE_APIC_CURRENT_COUNT);
    if (count < SAMPLES + WARM_UP) {
        late[count] = period - left;
        ++count;
    }
    bare_write_apic(BARE_APIC_EOI, 0);
}

static void sort(uint32_t* values, unsigned size) {
    for (unsigned i = 1; i < size; ++i) {
        const uint32_t value = values[i];
        unsigned at = i;
        for (; at > 0 && values[at - 1] > value; --at) {
            values[at] = values[at - 1];
        }
        values[at] = value;
    }
}

/* A count that takes a while, however fast the timer is. */
static uint32_t choose_period(void) {
    const uint32_t most = ~0u;
    bare_write_apic(BARE_APIC_TIMER, TIMER_MASKED);
    bare_write_apic(BARE_APIC_INITIAL_COUNT, most);
    const uint64_t begin = bare_read_tsc();
    while (bare_read_tsc() - begin < LEAST_PERIOD_TICKS) {
        bare_pause();
    }
    const uint32_t passed = most - bare_read_apic(BARE_APIC_CURRENT_COUNT);
    bare_write_apic(BARE_APIC_INITIAL_COUNT, 0);
    return passed;
}

static void say(const char* name, uint32_t ticks, uint64_t tsc_per_period) {
    bare_print("row %s %llu\n", name,
        (unsigned long long)((uint64_t)ticks * (tsc_per_period >> 8) / (period >> 8)));
}

void bare_program(void) {
    (void)bare_enable_apic(true);
    bare_write_apic(BARE_APIC_DIVIDER, TIMER_DIVIDE_BY_1);
    bare_set_handler(VECTOR_TIMER, take);
    period = choose_period();
    bare_write_apic(BARE_APIC_TIMER, TIMER_PERIODIC | VECTOR_TIMER);
    bare_write_apic(BARE_APIC_INITIAL_COUNT, period);
    while (count < WARM_UP) {
        bare_wait_for_interrupt();
    }
    const uint64_t begin = bare_read_tsc();
    while (count < SAMPLES + WARM_UP) {
        bare_wait_for_interrupt();
    }
    const uint64_t tsc_per_period = (bare_read_tsc() - begin) / SAMPLES;
    bare_write_apic(BARE_APIC_TIMER, TIMER_MASKED);
    sort(late + WARM_UP, SAMPLES);
    say("wake-median", late[WARM_UP + SAMPLES / 2], tsc_per_period);
    say("wake-late", late[WARM_UP + SAMPLES * 19 / 20], tsc_per_period);
    bare_print("done\n");
}
