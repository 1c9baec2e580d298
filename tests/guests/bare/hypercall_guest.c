/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel in plain C that finds the hypervisor, sets up its page and makes hypercalls, by the C
 * wrapper alone; built for 64 and for 32 bits. It says how it fares in TAP, the Test Anything
 * Protocol, and "done" in the end.
 */
#include "abi/cpuid.h"
#include "abi/hypercall.h"
#include "abi/interrupt.h"
#include "abi/status.h"
#include "hv/c/croft_hv.h"
#include "tests/guests/bare/bare.h"
#include "tests/guests/bare/tap.h"

static _Alignas(BARE_PAGE_SIZE) char hypercall_page[BARE_PAGE_SIZE];
static _Alignas(BARE_PAGE_SIZE) volatile char input[BARE_PAGE_SIZE];
static _Alignas(BARE_PAGE_SIZE) volatile char output[BARE_PAGE_SIZE];
static struct croft_hv hv;

static uint64_t address(const volatile void* at) {
    return (uintptr_t)at;
}

static bool same(const char* one, const char* other) {
    while (*one != 0 && *one == *other) {
        ++one;
        ++other;
    }
    return *one == *other;
}

static void find(void) {
    struct croft_hv_information information;
    check_equal("there is a hypervisor", croft_hv_find(NULL), CROFT_HV_OK);
    check_equal("it tells of itself", croft_hv_find(&information), CROFT_HV_OK);
    check_equal("its vendor is the interface's", same(information.vendor, "Microsoft Hv"), true);
    check_equal("the partition may make hypercalls",
        (information.privileges & HV_ACCESS_HYPERCALL_MSRS) != 0, true);
}

static void set_up(uint64_t identity) {
    const uint64_t page = address(hypercall_page);
    check_equal("a guest without an identity is refused",
        croft_hv_set_up(&hv, hypercall_page, page, 0), CROFT_HV_NO_IDENTITY);
    check_equal("a page must be aligned",
        croft_hv_set_up(&hv, hypercall_page + 8, page + 8, identity), CROFT_HV_NOT_ALIGNED);
    check_equal(
        "a page is set up", croft_hv_set_up(&hv, hypercall_page, page, identity), CROFT_HV_OK);
    check_equal("it may move", croft_hv_set_up(&hv, hypercall_page, page, identity), CROFT_HV_OK);
}

static void call(void) {
    check_equal("no such hypercall", croft_hv_status(croft_hv_call_fast(&hv, 0x7fff, 0, 0)),
        HV_STATUS_INVALID_HYPERCALL_CODE);
    check_equal("a fast one",
        croft_hv_status(croft_hv_call_fast(&hv, HVCALL_NOTIFY_LONG_SPIN_WAIT, 1, 0)),
        HV_STATUS_SUCCESS);
    check_equal("input must be aligned",
        croft_hv_status(
            croft_hv_call(&hv, HVCALL_SEND_SYNTHETIC_CLUSTER_IPI, 0, address(input) + 4, 0)),
        HV_STATUS_INVALID_ALIGNMENT);
    volatile uint32_t* const ipi = (volatile uint32_t*)input;
    ipi[0] = 0x40; /* the vector, for no processor at all */
    check_equal("one with input in memory",
        croft_hv_status(
            croft_hv_call(&hv, HVCALL_SEND_SYNTHETIC_CLUSTER_IPI, 0, address(input), 0)),
        HV_STATUS_SUCCESS);
}

/* HvCallGetVpIndexFromApicId, for APIC id 0 and one that nobody has. */
static void call_rep(void) {
    volatile uint64_t* const header = (volatile uint64_t*)input;
    header[0] = ~0ull; /* of this partition */
    header[1] = 0;
    volatile uint32_t* const apic_ids = (volatile uint32_t*)(header + 2);
    volatile uint32_t* const indexes = (volatile uint32_t*)output;
    apic_ids[0] = 0;
    apic_ids[1] = 0x7777;
    indexes[0] = indexes[1] = 0xdeadbeef;
    const uint64_t one = croft_hv_call_rep(
        &hv, HVCALL_GET_VP_INDEX_FROM_APIC_ID, 0, 1, address(input), address(output));
    check_equal("a rep call", croft_hv_status(one), HV_STATUS_SUCCESS);
    check_equal("its reps are completed", croft_hv_reps_completed(one), 1);
    check_equal("it answers", indexes[0], 0);
    indexes[0] = 0xdeadbeef;
    const uint64_t two = croft_hv_call_rep(
        &hv, HVCALL_GET_VP_INDEX_FROM_APIC_ID, 0, 2, address(input), address(output));
    check_equal("one that fails half-way", croft_hv_status(two), HV_STATUS_INVALID_PARAMETER);
    check_equal("what is completed stands", croft_hv_reps_completed(two), 1);
    check_equal("and is answered", indexes[0], 0);
    check_equal("the rest is not", indexes[1], 0xdeadbeef);
}

static void take_down(void) {
    croft_hv_take_down(&hv);
    char sum = 0;
    for (unsigned i = 0; i < BARE_PAGE_SIZE; ++i) {
        sum = (char)(sum | ((volatile char*)hypercall_page)[i]);
    }
    check_equal("the page is as it was", (uint64_t)(unsigned char)sum, 0);
}

void bare_program(void) {
    find();
    set_up(croft_hv_open_source_identity(0x7f, 0, 1, 0));
    call();
    call_rep();
    take_down();
    check_plan();
}
