/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts by hypercall: they come to the processors that were named and to no other. TLFS
 * "HvCallSendSyntheticClusterIpi", "HvCallSendSyntheticClusterIpiEx", "HV_VP_SET".
 *
 * All vectors but one are above the fence's, so after the fence what was sent has been taken.
 */
#include "abi/types.h"
#include "tests/guests/conformance/guest.h"

#define VECTOR 0x60u
#define VECTOR_LEAST 0x10u
#define VECTOR_MOST 0xffu
#define NO_SUCH_FORMAT 2u

static unsigned before[2];
static uint64_t vp_index[2];
static bool fenced_on_other;

static void learn_index(void) {
    vp_index[this_processor()] = bare_read_msr(HV_X64_MSR_VP_INDEX);
}

static void fence_on_other(void) {
    fenced_on_other = take_interrupts();
}

static void start_counting(void) {
    before[0] = interrupts[0][VECTOR];
    before[1] = interrupts[1][VECTOR];
}

/* Of both processors, since start_counting(): 0x10 for one of the first's and 1 for the other's. */
static unsigned taken(void) {
    (void)take_interrupts();
    run_on_other(fence_on_other);
    return (interrupts[0][VECTOR] - before[0]) << 4 | (interrupts[1][VECTOR] - before[1]);
}

static uint64_t mask_of(unsigned processor) {
    return 1ull << vp_index[processor];
}

static uint16_t send(uint64_t vector, uint64_t mask) {
    call_input[0] = vector;
    call_input[1] = mask;
    return call_with_input(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI, 0);
}

static void check_sent(const char* whom, uint64_t mask, unsigned expected) {
    start_counting();
    check_equal(check_words("succeeds:", whom), send(VECTOR, mask), HV_STATUS_SUCCESS);
    check_equal(check_words("arrives where it should, once:", whom), taken(), expected);
}

static bool has_come(const void* vector) {
    return interrupts[1][*(const unsigned*)vector] != 0;
}

static void check_vectors(void) {
    static const uint64_t wrong[] = {0, VECTOR_LEAST - 1, VECTOR_MOST + 1, 0x80000000u | VECTOR};
    static const char* const names[] = {
        "vector 0", "vector 0xf", "vector 0x100", "a vector of 32 bits"};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
        start_counting();
        check(check_words(names[i], "is refused"), send(wrong[i], mask_of(1)) != HV_STATUS_SUCCESS);
        check_equal(check_words(names[i], "leads to nothing"), taken(), 0);
    }
    static const unsigned right[] = {VECTOR_LEAST, VECTOR_MOST};
    static const char* const right_names[] = {"vector 0x10", "vector 0xff"};
    for (unsigned i = 0; i < sizeof right / sizeof right[0]; ++i) {
        count_interrupts((uint8_t)right[i]);
        check_equal(
            check_words(right_names[i], "is taken"), send(right[i], mask_of(1)), HV_STATUS_SUCCESS);
        check(check_words(right_names[i], "arrives"), wait_until(has_come, &right[i]));
    }
}

static void check_fast(void) {
    start_counting();
    check_equal("a fast call succeeds",
        croft_hv_status(
            croft_hv_call_fast(&hypercalls, HVCALL_SEND_SYNTHETIC_CLUSTER_IPI, VECTOR, mask_of(1))),
        HV_STATUS_SUCCESS);
    check_equal("what it has sent arrives where it should, once", taken(), 0x01);
}

static uint16_t send_to_set(
    uint64_t format, uint64_t banks, uint64_t first, uint64_t second, unsigned variable_header) {
    call_input[0] = VECTOR;
    call_input[1] = format;
    call_input[2] = banks;
    call_input[3] = first;
    call_input[4] = second;
    return call_with_input(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI_EX, variable_header);
}

static void check_set(const char* whom, uint16_t status, unsigned expected) {
    check_equal(check_words("succeeds:", whom), status, HV_STATUS_SUCCESS);
    check_equal(check_words("arrives where it should, once:", whom), taken(), expected);
}

static void check_sets(void) {
    if (!is_recommended(HV_RECOMMEND_EX_PROCESSOR_MASKS)) {
        check_skipped("sets of processors", NOT_ANNOUNCED);
        return;
    }
    const uint64_t both = mask_of(0) | mask_of(1);
    start_counting();
    check_set("a set of the other", send_to_set(0, 1, mask_of(1), 0, 1), 0x01);
    start_counting();
    check_set("a set of itself", send_to_set(0, 1, mask_of(0), 0, 1), 0x10);
    start_counting();
    check_set("a set of both", send_to_set(0, 1, both, 0, 1), 0x11);
    start_counting();
    check_set("a set of all", send_to_set(HV_GENERIC_SET_ALL, 0, 0, 0, 0), 0x11);
    start_counting();
    check_set("a set of an empty bank", send_to_set(0, 1, 0, 0, 1), 0);
    start_counting();
    check_set("a set with another, empty bank", send_to_set(0, 3, mask_of(1), 0, 2), 0x01);
    start_counting();
    check("a set with fewer banks than it says is refused",
        send_to_set(0, 3, both, both, 1) != HV_STATUS_SUCCESS);
    check("a set of no known format is refused",
        send_to_set(NO_SUCH_FORMAT, 1, both, 0, 1) != HV_STATUS_SUCCESS);
}

void bare_program(void) {
    guest_begin();
    count_interrupts(VECTOR);
    if (!is_recommended(HV_RECOMMEND_SYNTHETIC_CLUSTER_IPI)) {
        check_skipped("interrupts by hypercall", NOT_ANNOUNCED);
    } else if (start_other() && set_up_hypercalls()) {
        learn_index();
        run_on_other(learn_index);
        check_sent("to the other", mask_of(1), 0x01);
        check_sent("to itself", mask_of(0), 0x10);
        check_sent("to both", mask_of(0) | mask_of(1), 0x11);
        check_sent("to nobody", 0, 0);
        check("no fence was lost", fenced_on_other);
        check_vectors();
        check_fast();
        check_sets();
    }
    check_plan();
}
