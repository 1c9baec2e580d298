/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest all of whose processors compute for ever: it says "spins" when all do.
 */
#include "tests/guests/bare/bare.h"

#define MOST_PROCESSORS 16u

static void spin(void) {
    volatile uint64_t rounds = 0;
    for (;;) {
        ++rounds;
    }
}

static volatile uint32_t running;

static void compute(void) {
    __atomic_fetch_add(&running, 1, __ATOMIC_SEQ_CST);
    spin();
}

void bare_program(void) {
    (void)bare_enable_apic(true);
    /* The number of logical processors, as CPUID has it for one package. */
    uint32_t count = (bare_cpuid(1, 0).ebx >> 16) & 0xff;
    count = count == 0 ? 1 : count < MOST_PROCESSORS ? count : MOST_PROCESSORS;
    uint32_t started = 0;
    for (uint32_t id = 1; id < count; ++id) {
        started += bare_start_processor(id, compute) ? 1 : 0;
    }
    while (running < started) {
        bare_pause();
    }
    bare_print("spins on %u processors\n", (unsigned)(started + 1));
    spin();
}
