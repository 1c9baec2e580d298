/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Synthetic timers: their registers, when they expire and what they send. TLFS "Timers": "Synthetic
 * Timers" and what follows; "HV_TIMER_MESSAGE_PAYLOAD".
 *
 * A timer may be late as much as it likes, but never early.
 */
#include "abi/message.h"
#include "tests/guests/conformance/messages.h"

#define ONE_MILLISECOND 10000u
#define FAR_AWAY (1ull << 62)
#define VECTOR_DIRECT 0x58u
#define PERIODS 5u

/* ---- Registers ---- */

static bool is_reset[2];

static void look_at_reset(void) {
    bool reset = true;
    for (unsigned timer = 0; timer < TIMERS; ++timer) {
        reset = reset && read_timer_config(timer) == 0 && read_timer_count(timer) == 0;
    }
    is_reset[this_processor()] = reset;
}

static void check_registers(void) {
    look_at_reset();
    check("all timers are disabled at first", is_reset[0]);
    start_timer(0, TIMER_SINT(SINT), FAR_AWAY);
    check_equal(
        "a timer far away is enabled", read_timer_config(0), TIMER_SINT(SINT) | TIMER_ENABLE);
    check_equal("its count reads as it was written", read_timer_count(0), FAR_AWAY);
    run_on_other(look_at_reset);
    check("the other processor has timers of its own", is_reset[1]);
    write_timer_count(0, 0);
    check_equal("a count of 0 disables it", read_timer_config(0) & TIMER_ENABLE, 0);
    write_timer_config(0, TIMER_AUTO_ENABLE | TIMER_SINT(SINT));
    check_equal("with AutoEnable it is not enabled yet", read_timer_config(0) & TIMER_ENABLE, 0);
    write_timer_count(0, FAR_AWAY);
    check_equal("but by a count", read_timer_config(0) & TIMER_ENABLE, TIMER_ENABLE);
    write_timer_count(0, 0);
    check_equal(
        "with AutoEnable, too, a count of 0 disables it", read_timer_config(0) & TIMER_ENABLE, 0);
    start_timer(0, TIMER_SINT(0), FAR_AWAY);
    check_equal("without a SINT it is not enabled", read_timer_config(0) & TIMER_ENABLE, 0);
    write_timer_config(0, 0);
}

/* ---- One-shot ---- */

static void check_message(const char* name, unsigned timer, uint64_t asked) {
    check(check_words(name, "sends a message"), wait_for_message(SINT));
    const uint64_t now = read_counter();
    const struct hv_timer_message_payload message = timer_message(SINT);
    check_equal(check_words(name, "is named in its message"), message.timer_index, timer);
    check_equal(check_words(name, "says when it was to expire"), message.expiration_time, asked);
    check_at_least(check_words(name, "is not early"), message.delivery_time, asked);
    check_at_least(check_words(name, "says when it was delivered"), now, message.delivery_time);
    check_equal(check_words(name, "is disabled then"), read_timer_config(timer) & TIMER_ENABLE, 0);
    (void)take_interrupts();
    free_slot(SINT);
}

static void check_one_shot(void) {
    uint64_t asked = read_counter() + ONE_MILLISECOND;
    const unsigned before = interrupts[0][VECTOR_SINT];
    start_timer(0, TIMER_SINT(SINT), asked);
    check_message("a one-shot timer", 0, asked);
    check_equal("it comes with one interrupt", interrupts[0][VECTOR_SINT] - before, 1);
    asked = read_counter();
    start_timer(TIMERS - 1, TIMER_SINT(SINT), asked);
    check_message("one of the past", TIMERS - 1, asked);
    write_timer_config(1, TIMER_AUTO_ENABLE | TIMER_SINT(SINT));
    asked = read_counter() + ONE_MILLISECOND;
    write_timer_count(1, asked);
    check_message("one with AutoEnable", 1, asked);
}

static void check_all_timers(void) {
    const uint64_t now = read_counter();
    for (unsigned timer = 0; timer < TIMERS; ++timer) {
        start_timer(timer, TIMER_SINT(SINT), now + ONE_MILLISECOND);
    }
    unsigned seen = 0;
    for (unsigned i = 0; i < TIMERS && wait_for_message(SINT); ++i) {
        seen |= 1u << timer_message(SINT).timer_index;
        free_slot(SINT);
    }
    check_equal("all timers of one SINT send their messages", seen, (1u << TIMERS) - 1);
    (void)take_interrupts();
}

static bool is_past(const void* time) {
    return read_counter() > *(const uint64_t*)time;
}

static void check_disabled(void) {
    const uint64_t asked = read_counter() + 20ull * ONE_MILLISECOND;
    start_timer(0, TIMER_SINT(SINT), asked);
    write_timer_config(0, TIMER_SINT(SINT));
    static const char words[] = "a timer that was disabled before sends nothing";
    if (read_counter() >= asked) {
        check_skipped(words, "it was disabled too late");
        free_slot(SINT);
        return;
    }
    const uint64_t later = asked + ONE_MILLISECOND;
    (void)wait_until(is_past, &later);
    (void)take_interrupts();
    check(words, !slot_is_taken(SINT));
}

/* ---- Periodic ---- */

static void stop(unsigned timer) {
    write_timer_config(timer, 0);
    for (unsigned i = 0; i < TIMERS && slot_is_taken(SINT); ++i) {
        free_slot(SINT);
    }
}

static void check_periodic(const char* name, uint64_t bits) {
    const uint64_t begin = read_counter();
    start_timer(2, TIMER_PERIODIC | TIMER_SINT(SINT) | bits, ONE_MILLISECOND);
    uint64_t last = 0;
    unsigned count = 0;
    bool is_first_late = false;
    bool rises = true;
    bool is_never_early = true;
    for (; count < PERIODS && wait_for_message(SINT); ++count) {
        const struct hv_timer_message_payload message = timer_message(SINT);
        is_first_late =
            count == 0 ? message.delivery_time >= begin + ONE_MILLISECOND : is_first_late;
        rises = rises && message.expiration_time > last;
        is_never_early = is_never_early && message.delivery_time >= message.expiration_time;
        last = message.expiration_time;
        free_slot(SINT);
    }
    check_equal(check_words(name, "sends on and on"), count, PERIODS);
    check(check_words(name, "begins with a whole period"), is_first_late);
    check(check_words(name, "expires later each time"), rises);
    check(check_words(name, "is never early"), is_never_early);
    check_equal(
        check_words(name, "stays enabled"), read_timer_config(2) & TIMER_ENABLE, TIMER_ENABLE);
    stop(2);
    const uint64_t later = read_counter() + 3ull * ONE_MILLISECOND;
    (void)wait_until(is_past, &later);
    (void)take_interrupts();
    check(check_words(name, "ends when it is disabled"), !slot_is_taken(SINT));
}

/* ---- Direct ---- */

static volatile unsigned direct_count;
static volatile uint64_t direct_time;

static void take_direct(struct bare_frame* frame) {
    (void)frame;
    direct_time = read_counter();
    ++direct_count;
    end_interrupt();
}

static bool has_direct(const void* count) {
    return direct_count >= *(const unsigned*)count;
}

static void check_direct(void) {
    if (!has_feature(HV_FEATURE_DIRECT_SYNTHETIC_TIMERS)) {
        check_skipped("direct timers", NOT_ANNOUNCED);
        return;
    }
    static const unsigned one = 1;
    static const unsigned some = 1 + PERIODS;
    bare_set_handler(VECTOR_DIRECT, take_direct);
    const uint64_t config = TIMER_DIRECT | TIMER_VECTOR(VECTOR_DIRECT);
    const uint64_t asked = read_counter() + ONE_MILLISECOND;
    start_timer(0, config, asked);
    check("a direct timer needs no SINT, and interrupts", wait_until(has_direct, &one));
    check_at_least("it is not early", direct_time, asked);
    check_equal("it is disabled then", read_timer_config(0), config);
    check("it sends no message", !slot_is_taken(SINT));
    start_timer(0, config | TIMER_PERIODIC, ONE_MILLISECOND);
    check("a periodic one interrupts on and on", wait_until(has_direct, &some));
    write_timer_config(0, 0);
    (void)take_interrupts();
    const unsigned count = direct_count;
    const uint64_t later = read_counter() + 3ull * ONE_MILLISECOND;
    (void)wait_until(is_past, &later);
    (void)take_interrupts();
    check_equal("it ends when it is disabled", direct_count, count);
}

/* ---- The other processor ---- */

static bool other_has_message;
static struct hv_timer_message_payload other_message;
static uint64_t other_asked;

static void time_on_other(void) {
    enable_messages();
    other_asked = read_counter() + ONE_MILLISECOND;
    start_timer(1, TIMER_SINT(SINT), other_asked);
    other_has_message = wait_for_message(SINT);
    other_message = timer_message(SINT);
    (void)take_interrupts();
}

static void check_other(void) {
    const unsigned before = interrupts[0][VECTOR_SINT];
    run_on_other(time_on_other);
    check("a timer of the other processor sends a message there", other_has_message);
    check("with what was asked for there",
        other_message.timer_index == 1 && other_message.expiration_time == other_asked);
    check_equal("it interrupts the other processor", interrupts[1][VECTOR_SINT], 1);
    (void)take_interrupts();
    check("and not this one", interrupts[0][VECTOR_SINT] == before && !slot_is_taken(SINT));
}

void bare_program(void) {
    guest_begin();
    if (!has_privilege(HV_ACCESS_SYNTHETIC_TIMER_REGS) || !has_privilege(HV_ACCESS_SYNIC_REGS)) {
        check_skipped("synthetic timers", NOT_ANNOUNCED);
    } else if (start_other()) {
        enable_messages();
        check_registers();
        check_one_shot();
        check_all_timers();
        check_disabled();
        check_periodic("a periodic timer", 0);
        check_periodic("a lazy timer", TIMER_LAZY);
        check_direct();
        check_other();
    }
    check_plan();
}
