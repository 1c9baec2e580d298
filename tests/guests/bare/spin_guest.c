/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two processors that hand a lock to one another and spin until it is theirs, where they share one
 * of the machine's: "row untold N" and "row told N" say how many units of 100 ns a hundred turns
 * took, without and with HvCallNotifyLongSpinWait after as many attempts as the hypervisor asks for
 * (TLFS "Implementation Recommendations"), then "done".
 */
#include "abi/cpuid.h"
#include "abi/hypercall.h"
#include "abi/msr.h"
#include "hv/c/croft_hv.h"
#include "tests/guests/bare/bare.h"

#define TURNS 100u
#define NEVER 0xffffffffu

static _Alignas(BARE_PAGE_SIZE) char hypercall_page[BARE_PAGE_SIZE];
static struct croft_hv hv;
static uint32_t attempts;
static volatile bool tells;
static volatile uint32_t owner;

static void wait_to_own(uint32_t self) {
    uint32_t tries = 0;
    while (owner != self) {
        bare_pause();
        if (tells && ++tries % attempts == 0) {
            (void)croft_hv_call_fast(&hv, HVCALL_NOTIFY_LONG_SPIN_WAIT, tries, 0);
        }
    }
}

static void second_processor(void) {
    for (;;) {
        wait_to_own(1);
        owner = 0;
    }
}

static uint64_t time_of_turns(void) {
    const uint64_t begin = bare_read_msr(HV_X64_MSR_TIME_REF_COUNT);
    for (unsigned i = 0; i < TURNS; ++i) {
        owner = 1;
        wait_to_own(0);
    }
    return bare_read_msr(HV_X64_MSR_TIME_REF_COUNT) - begin;
}

void bare_program(void) {
    (void)bare_enable_apic(true);
    if (croft_hv_set_up(&hv, hypercall_page, (uintptr_t)hypercall_page,
            croft_hv_open_source_identity(0x7f, 0, 1, 0)) != CROFT_HV_OK) {
        bare_print("Bail out! found no hypercalls, expected some\n");
        return;
    }
    attempts = bare_cpuid(HV_CPUID_ENLIGHTENMENT_INFO, 0).ebx;
    if (attempts == NEVER || attempts == 0) {
        bare_print("Bail out! found that long spins are never to be told of\n");
        return;
    }
    if (!bare_start_processor(1, second_processor)) {
        bare_print("Bail out! found no second processor, expected one\n");
        return;
    }
    bare_print("row untold %llu\n", (unsigned long long)time_of_turns());
    tells = true;
    bare_print("row told %llu\n", (unsigned long long)time_of_turns());
    bare_print("done\n");
}
