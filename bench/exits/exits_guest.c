/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What exits cost a guest, by its own time-stamp counter: a line "row NAME TICKS" for each kind,
 * the median of many less what reading the counter costs, then "done". The same program boots on
 * any VMM.
 */
#include "hv/c/croft_hv.h"
#include "tests/guests/bare/bare.h"

#define SAMPLES 201u
#define WARM_UP 20u

#define MSR_EFER 0xc0000080u
#define SERIAL_SCRATCH 0x3ffu
#define IO_APIC 0xfec00000u
#define TIMER_MASKED (1u << 16)
#define TIMER_DIVIDE_BY_1 0xbu
#define COMMAND_SELF (1u << 18)
#define NO_SUCH_HYPERCALL 0x7fffu
#define VECTOR_SELF 0x40u
#define VECTOR_TIMER 0x41u
#define VECTOR_PING 0x42u
#define VECTOR_PONG 0x43u
#define TOUCHED_FIRST (64ull << 20)
#define TOUCHED_SIZE (64ull << 20)

static uint64_t samples[SAMPLES];
static uint64_t overhead;

static uint64_t median(void) {
    for (unsigned i = 1; i < SAMPLES; ++i) {
        const uint64_t value = samples[i];
        unsigned at = i;
        for (; at > 0 && samples[at - 1] > value; --at) {
            samples[at] = samples[at - 1];
        }
        samples[at] = value;
    }
    return samples[SAMPLES / 2];
}

static void say(const char* name, uint64_t ticks) {
    bare_print("row %s %llu\n", name, (unsigned long long)ticks);
}

/* Measures `call` and says what it has cost. */
static uint64_t measure(void (*call)(void)) {
    for (unsigned i = 0; i < WARM_UP; ++i) {
        call();
    }
    for (unsigned i = 0; i < SAMPLES; ++i) {
        const uint64_t begin = bare_read_tsc();
        call();
        samples[i] = bare_read_tsc() - begin;
    }
    const uint64_t ticks = median();
    return ticks > overhead ? ticks - overhead : 0;
}

static void nothing(void) {
    __asm__ volatile("" : : : "memory");
}

static void do_cpuid(void) {
    (void)bare_cpuid(1, 0);
}

static void read_msr(void) {
    (void)bare_read_msr(MSR_EFER);
}

static uint64_t efer;

static void write_msr(void) {
    bare_write_msr(MSR_EFER, efer);
}

static struct croft_hv hv;

static void hypercall(void) {
    if (hv.page != NULL) {
        (void)croft_hv_call_fast(&hv, NO_SUCH_HYPERCALL, 0, 0);
        return;
    }
    uint64_t result = NO_SUCH_HYPERCALL; /* of KVM's own interface */
    __asm__ volatile("vmmcall" : "+a"(result) : "b"(0) : "memory");
}

static void read_apic(void) {
    (void)bare_read_apic(BARE_APIC_ID);
}

static void write_apic(void) {
    bare_write_apic(BARE_APIC_DIVIDER, TIMER_DIVIDE_BY_1);
}

static void arm_timer(void) {
    bare_write_apic(BARE_APIC_INITIAL_COUNT, 0x70000000);
}

static volatile bool came;

static void take(struct bare_frame* frame) {
    (void)frame;
    came = true;
    bare_write_apic(BARE_APIC_EOI, 0);
}

static void send_to_self(void) {
    came = false;
    bare_send(0, COMMAND_SELF | VECTOR_SELF);
    while (!came) {
    }
}

/*
 * Arms the timer, and counts rounds of a loop until its handler has come, or `most` of them. The
 * loop is one for all, and within a page: an emulator takes many times as long for one that isn't.
 */
__attribute__((noinline, aligned(256))) static uint64_t spin(uint32_t count, uint64_t most) {
    came = false;
    bare_write_apic(BARE_APIC_INITIAL_COUNT, count);
    uint64_t rounds = 0;
    while (!came && rounds < most) {
        ++rounds;
    }
    return rounds;
}

enum { TIMER_TRIES = 11 };

/* The time that arming the timer and `rounds` of the loop take, when nothing comes between. */
static uint64_t time_rounds(uint64_t rounds) {
    enum { longer = 16000000 };
    uint64_t least = ~0ull;
    for (unsigned i = 0; i < TIMER_TRIES; ++i) {
        const uint64_t begin = bare_read_tsc();
        (void)spin(longer, rounds);
        const uint64_t all = bare_read_tsc() - begin;
        least = all < least ? all : least;
    }
    return least;
}

/* What arming the timer and its interrupt take from a loop that would go on without them. */
static void time_timer(void) {
    enum { period = 250000, rounds = 20000, scale = 1 << 20 };
    bare_write_apic(BARE_APIC_TIMER, VECTOR_TIMER);
    const uint64_t scaled_round = (time_rounds(2 * rounds) - time_rounds(rounds)) * scale / rounds;
    uint64_t least = ~0ull;
    for (unsigned i = 0; i < TIMER_TRIES; ++i) {
        const uint64_t begin = bare_read_tsc();
        const uint64_t own = spin(period, ~0ull) * scaled_round / scale;
        const uint64_t all = bare_read_tsc() - begin;
        const uint64_t cost = all > own ? all - own : 0;
        least = cost < least ? cost : least;
    }
    bare_write_apic(BARE_APIC_TIMER, TIMER_MASKED);
    say("timer-delivery", least);
}

static volatile bool pinged;

static void take_ping(struct bare_frame* frame) {
    (void)frame;
    pinged = true;
    bare_write_apic(BARE_APIC_EOI, 0);
}

static volatile bool second_is_there;

static void second_processor(void) {
    second_is_there = true;
    for (;;) {
        while (!pinged) {
            bare_wait_for_interrupt();
        }
        pinged = false;
        bare_send(0, VECTOR_PONG);
    }
}

static void ping(void) {
    came = false;
    bare_forbid_interrupts();
    bare_send(1, VECTOR_PING);
    while (!came) {
        bare_wait_for_interrupt();
    }
    bare_allow_interrupts();
}

static void read_port(void) {
    (void)bare_in(SERIAL_SCRATCH);
}

static void read_mmio(void) {
    (void)bare_read_mmio(IO_APIC);
}

static void touch(void) {
    const uint64_t begin = bare_read_tsc();
    for (uint64_t at = TOUCHED_FIRST; at < TOUCHED_FIRST + TOUCHED_SIZE; at += BARE_PAGE_SIZE) {
        *(volatile uint64_t*)at = at;
    }
    say("first-touches", bare_read_tsc() - begin);
}

static void measure_apic(void) {
    const bool x2apic = bare_enable_apic(true);
    say("apic-read", measure(read_apic));
    say("apic-write", measure(write_apic));
    bare_write_apic(BARE_APIC_TIMER, TIMER_MASKED | VECTOR_TIMER);
    say("apic-timer-arm", measure(arm_timer));
    bare_write_apic(BARE_APIC_INITIAL_COUNT, 0);
    bare_set_handler(VECTOR_SELF, take);
    bare_set_handler(VECTOR_TIMER, take);
    bare_set_handler(VECTOR_PONG, take);
    bare_set_handler(VECTOR_PING, take_ping);
    bare_allow_interrupts();
    say("self-ipi", measure(send_to_self));
    time_timer();
    if (bare_start_processor(1, second_processor)) {
        while (!second_is_there) {
            bare_pause();
        }
        say("ipi-round-trip", measure(ping));
    }
    bare_forbid_interrupts();
    bare_print("# x2apic %u\n", (unsigned)x2apic);
}

static _Alignas(BARE_PAGE_SIZE) char hypercall_page[BARE_PAGE_SIZE];

void bare_program(void) {
    overhead = measure(nothing);
    efer = bare_read_msr(MSR_EFER);
    if (croft_hv_find(NULL) == CROFT_HV_OK) {
        const enum croft_hv_error error = croft_hv_set_up(&hv, hypercall_page,
            (uint64_t)hypercall_page, croft_hv_open_source_identity(0x7f, 0, 1, 0));
        bare_print("# hypercalls: %s\n", croft_hv_error_text(error));
    }
    say("cpuid", measure(do_cpuid));
    say("msr-read", measure(read_msr));
    say("msr-write", measure(write_msr));
    say("hypercall", measure(hypercall));
    measure_apic();
    say("port-read", measure(read_port));
    say("mmio-read", measure(read_mmio));
    touch();
    bare_print("done\n");
}
