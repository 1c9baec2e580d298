/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The synthetic interrupt controller: its registers, and messages with their slots and interrupts.
 * TLFS "Inter-Partition Communication": "SynIC Messages", "SynIC Registers". What sends messages is
 * timers that are due at once.
 */
#include "abi/message.h"
#include "tests/guests/conformance/messages.h"

#define SINT_RESET SINT_MASKED
#define VECTOR_LEAST 16u
#define FEATURE_SINT_POLLING (1u << 17) /* TLFS, leaf 0x40000003, EDX */
#define SINT_POLLING (1ull << 18)
#define PATTERN 0x5ca1ab1e0ddba11ull
#define DUE_AT_ONCE 1u

/* ---- Registers ---- */

static bool is_reset[2];

static void look_at_reset(void) {
    bool reset = bare_read_msr(HV_X64_MSR_SCONTROL) == 0 && bare_read_msr(HV_X64_MSR_SIMP) == 0 &&
        bare_read_msr(HV_X64_MSR_SIEFP) == 0 && bare_read_msr(HV_X64_MSR_EOM) == 0;
    for (uint32_t sint = 0; sint < HV_SYNIC_SINT_COUNT; ++sint) {
        reset = reset && bare_read_msr(HV_X64_MSR_SINT0 + sint) == SINT_RESET;
    }
    is_reset[this_processor()] = reset;
}

static void check_reset(void) {
    check_equal("SCONTROL is 0 at first", bare_read_msr(HV_X64_MSR_SCONTROL), 0);
    check_equal("SIMP is 0 at first", bare_read_msr(HV_X64_MSR_SIMP), 0);
    check_equal("SIEFP is 0 at first", bare_read_msr(HV_X64_MSR_SIEFP), 0);
    check_equal("EOM reads as 0", bare_read_msr(HV_X64_MSR_EOM), 0);
    check_equal("SINT0 is masked at first", bare_read_msr(HV_X64_MSR_SINT0), SINT_RESET);
    look_at_reset();
    check("all SINTs are masked at first", is_reset[0]);
    check("SVERSION has a version", (uint32_t)bare_read_msr(HV_X64_MSR_SVERSION) != 0);
}

static void check_sints(void) {
    const uint32_t msr = HV_X64_MSR_SINT0 + SINT;
    check_equal(
        "a SINT takes a vector", (uint64_t)try_write_msr(msr, VECTOR_SINT), (uint64_t)NO_EXCEPTION);
    check_equal("and reads as it was written", bare_read_msr(msr), VECTOR_SINT);
    check_equal("vector 0 faults", (uint64_t)try_write_msr(msr, 0), EXCEPTION_GP);
    check_equal("vector 15 faults", (uint64_t)try_write_msr(msr, VECTOR_LEAST - 1), EXCEPTION_GP);
    check_equal("what faults changes nothing", bare_read_msr(msr), VECTOR_SINT);
    check_equal(
        "vector 16 is taken", (uint64_t)try_write_msr(msr, VECTOR_LEAST), (uint64_t)NO_EXCEPTION);
    check_equal("a masked SINT takes its first value", (uint64_t)try_write_msr(msr, SINT_RESET),
        (uint64_t)NO_EXCEPTION);
    bare_write_msr(HV_X64_MSR_SCONTROL, 1);
    run_on_other(look_at_reset);
    check("the other processor has registers of its own", is_reset[1]);
}

/* ---- Pages ---- */

static _Alignas(BARE_PAGE_SIZE) volatile uint64_t flags_page[BARE_PAGE_SIZE / sizeof(uint64_t)];

static void check_a_page(const char* name, uint32_t msr, volatile uint64_t* page) {
    enum { words = BARE_PAGE_SIZE / sizeof(uint64_t) };
    mark(page, PATTERN);
    bare_write_msr(msr, address_of(page) | HV_MSR_PAGE_ENABLE);
    check_equal(check_words(name, "is enabled where it was asked for"), bare_read_msr(msr),
        address_of(page) | HV_MSR_PAGE_ENABLE);
    uint64_t all = 0;
    for (unsigned i = 0; i < words; ++i) {
        all |= page[i];
    }
    check_equal(check_words(name, "shows a page of zeros at first"), all, 0);
    page[words - 1] = PATTERN;
    check_equal(check_words(name, "shows a page that is written"), page[words - 1], PATTERN);
    page[words - 1] = 0;
    bare_write_msr(msr, 0);
    check_equal(check_words(name, "when disabled, shows memory as it was"), page[0], PATTERN);
    page[0] = 0;
}

/* ---- Messages ---- */

static void send(unsigned timer) {
    start_timer(timer, TIMER_SINT(SINT), DUE_AT_ONCE);
}

static volatile struct hv_message_header* slot(void) {
    return &message_page()->sint_message[SINT].header;
}

static bool is_pending(const void* argument) {
    (void)argument;
    return (slot()->message_flags & HV_MESSAGE_FLAG_PENDING) != 0;
}

static unsigned interrupts_taken(void) {
    (void)take_interrupts();
    return interrupts[0][VECTOR_SINT];
}

static void check_delivery(void) {
    unsigned before = interrupts_taken();
    send(0);
    check("a message is delivered", wait_for_message(SINT));
    check_equal("it is a timer's", slot()->message_type, HVMSG_TIMER_EXPIRED);
    check_equal(
        "its payload is a timer's", slot()->payload_size, sizeof(struct hv_timer_message_payload));
    check_equal("nothing else is pending", is_pending(NULL), false);
    check_equal("it comes with an interrupt", interrupts_taken() - before, 1);

    before = interrupts_taken();
    send(1);
    check(
        "with a second message for a full slot the first is marked", wait_until(is_pending, NULL));
    check_equal("the first message stays", timer_message(SINT).timer_index, 0);
    check_equal("the second comes with no interrupt yet", interrupts_taken() - before, 0);
    free_slot(SINT);
    check("at the end of message the second is delivered", wait_for_message(SINT));
    check_equal("the second message is the second timer's", timer_message(SINT).timer_index, 1);
    check_equal("the second comes with its interrupt", interrupts_taken() - before, 1);
    free_slot(SINT);

    before = interrupts_taken();
    bare_write_msr(HV_X64_MSR_EOM, 0);
    check("an end of message without messages does nothing",
        !slot_is_taken(SINT) && interrupts_taken() == before);
}

static void check_masked(void) {
    const unsigned before = interrupts_taken();
    write_sint(SINT, VECTOR_SINT | SINT_MASKED);
    send(0);
    check("a masked SINT gets its message", wait_for_message(SINT));
    check_equal("but no interrupt", interrupts_taken() - before, 0);
    free_slot(SINT);
    write_sint(SINT, VECTOR_SINT);
    check_equal("the interrupt is lost", interrupts_taken() - before, 0);
}

static void check_polling(void) {
    static const char words[] = "a polled SINT gets its message without an interrupt";
    if (!has_feature(FEATURE_SINT_POLLING)) {
        check_skipped(words, NOT_ANNOUNCED);
        return;
    }
    const unsigned before = interrupts_taken();
    write_sint(SINT, VECTOR_SINT | SINT_POLLING);
    send(0);
    check(words, wait_for_message(SINT) && interrupts_taken() == before);
    free_slot(SINT);
    write_sint(SINT, VECTOR_SINT);
}

static bool is_past(const void* time) {
    return read_counter() > *(const uint64_t*)time;
}

/* What is sent meanwhile stays queued. */
static void check_disabled_page(void) {
    enum { one_millisecond = 10000 };
    const unsigned before = interrupts_taken();
    set_message_page(false);
    send(0);
    const uint64_t later = read_counter() + one_millisecond;
    (void)wait_until(is_past, &later);
    check("without its page no message is written", !slot_is_taken(SINT));
    check_equal("without its page no interrupt comes", interrupts_taken() - before, 0);
    set_message_page(true);
    bare_write_msr(HV_X64_MSR_EOM, 0);
    check("the message comes when the page is there again", wait_for_message(SINT));
    check_equal("and so does its interrupt", interrupts_taken() - before, 1);
    free_slot(SINT);
}

static volatile unsigned auto_ended;

static void take_auto_ended(struct bare_frame* frame) {
    (void)frame;
    ++auto_ended;
}

static bool is_auto_ended(const void* argument) {
    (void)argument;
    return auto_ended != 0;
}

/* An interrupt that nobody ends would keep the fence, which is of a lower priority, from coming. */
static void check_auto_eoi(void) {
    static const char words[] = "an interrupt with AutoEOI ends itself";
    if (is_recommended(HV_RECOMMEND_DEPRECATE_AUTO_EOI)) {
        check_skipped(words, "AutoEOI is deprecated");
        return;
    }
    bare_set_handler(VECTOR_SINT, take_auto_ended);
    write_sint(SINT, VECTOR_SINT | SINT_AUTO_EOI);
    send(0);
    const bool came = wait_until(is_auto_ended, NULL);
    check(words, came && take_interrupts());
    free_slot(SINT);
    write_sint(SINT, SINT_MASKED);
}

void bare_program(void) {
    guest_begin();
    if (!has_privilege(HV_ACCESS_SYNIC_REGS)) {
        check_skipped("the SynIC", NOT_ANNOUNCED);
    } else if (start_other()) {
        check_reset();
        check_sints();
        check_a_page(
            "SIMP", HV_X64_MSR_SIMP, (volatile uint64_t*)(uintptr_t)address_of(message_page()));
        check_a_page("SIEFP", HV_X64_MSR_SIEFP, flags_page);
        enable_messages();
        if (has_privilege(HV_ACCESS_SYNTHETIC_TIMER_REGS)) {
            check_delivery();
            check_masked();
            check_polling();
            check_disabled_page();
            check_auto_eoi();
        } else {
            check_skipped("messages", "CPUID does not announce timers, which would send them");
        }
    }
    check_plan();
}
