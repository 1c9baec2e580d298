/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does what the statistics of a virtual processor count, each another number of times, and says
 * "done": tests/lab/test_statistics.py has the numbers, too.
 */
#include "abi/hypercall.h"
#include "abi/memory.h"
#include "hv/c/croft_hv.h"
#include "tests/guests/bare/bare.h"
#include "tests/guests/bare/tap.h"

#define VECTOR 0x40u
#define TO_SELF (1u << 18)
#define ALL_PROCESSORS HV_FLUSH_ALL_PROCESSORS
#define ALL_SPACES (HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES)

static _Alignas(BARE_PAGE_SIZE) char hypercall_page[BARE_PAGE_SIZE];
static _Alignas(BARE_PAGE_SIZE) volatile uint64_t input[BARE_PAGE_SIZE / 8];
static struct croft_hv hv;

/* `ranges` of one page each, or all there is. */
static uint16_t flush(uint64_t flags, unsigned ranges) {
    const uint64_t at = (uintptr_t)input;
    input[0] = 0;
    input[1] = flags;
    input[2] = 0;
    for (unsigned i = 0; i < ranges; ++i) {
        input[3 + i] = at;
    }
    return croft_hv_status(ranges == 0
            ? croft_hv_call(&hv, HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE, 0, at, 0)
            : croft_hv_call_rep(&hv, HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST, 0, ranges, at, 0));
}

static uint16_t send_ipi(void) {
    input[0] = VECTOR;
    input[1] = 0; /* to nobody */
    return croft_hv_status(
        croft_hv_call(&hv, HVCALL_SEND_SYNTHETIC_CLUSTER_IPI, 0, (uintptr_t)input, 0));
}

static void handle(struct bare_frame* frame) {
    (void)frame;
    bare_write_apic(BARE_APIC_EOI, 0);
}

void bare_program(void) {
    (void)bare_enable_apic(true);
    bare_set_handler(VECTOR, handle);
    check_equal("there are hypercalls",
        croft_hv_set_up(&hv, hypercall_page, (uintptr_t)hypercall_page,
            croft_hv_open_source_identity(0x7f, 0, 1, 0)),
        CROFT_HV_OK);
    uint64_t failed = 0;
    for (unsigned i = 0; i < 3; ++i) {
        failed |= flush(ALL_PROCESSORS, 0);
    }
    for (unsigned i = 0; i < 5; ++i) {
        failed |= flush(ALL_SPACES, 0);
    }
    failed |= flush(ALL_PROCESSORS, 7) | flush(ALL_SPACES, 4) | flush(ALL_SPACES, 5);
    for (unsigned i = 0; i < 11; ++i) {
        failed |= send_ipi();
    }
    for (unsigned i = 0; i < 13; ++i) {
        failed |= croft_hv_status(croft_hv_call_fast(&hv, HVCALL_NOTIFY_LONG_SPIN_WAIT, 1, 0));
    }
    check_equal("hypercalls succeed", failed, 0);
    /* Of each kind of call one that is refused, and one that nobody knows. */
    (void)croft_hv_call_fast(&hv, HVCALL_CREATE_PARTITION, 0, 0);
    (void)croft_hv_call_fast(&hv, HVCALL_GET_MEMORY_BALANCE, 0, 0);
    (void)croft_hv_call_fast(&hv, 0x7fff, 0, 0);
    for (unsigned i = 0; i < 17; ++i) {
        bare_write_apic(BARE_APIC_COMMAND, TO_SELF | VECTOR);
        bare_wait_for_interrupt();
    }
    for (unsigned i = 0; i < 6; ++i) {
        bare_send(bare_read_apic(BARE_APIC_ID), VECTOR);
        bare_wait_for_interrupt();
    }
    check_plan();
}
