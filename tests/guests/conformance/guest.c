/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guests/conformance/guest.h"

#define OTHER_APIC_ID 1u
#define APIC_ID_SHIFT 24u
#define COMMAND_SELF (1u << 18)
#define VERY_LONG (1ull << 36) /* of the time-stamp counter: many seconds */

struct croft_hv_information announced;
struct croft_hv hypercalls;
_Alignas(BARE_PAGE_SIZE) volatile uint64_t call_input[BARE_PAGE_SIZE / sizeof(uint64_t)];
_Alignas(BARE_PAGE_SIZE) volatile uint64_t call_output[BARE_PAGE_SIZE / sizeof(uint64_t)];
volatile unsigned interrupts[2][256];

static _Alignas(BARE_PAGE_SIZE) char hypercall_page[BARE_PAGE_SIZE];

bool has_privilege(uint64_t privilege) {
    return (announced.privileges & privilege) != 0;
}

bool has_feature(uint32_t feature) {
    return (announced.features & feature) != 0;
}

bool is_recommended(uint32_t recommendation) {
    return (announced.recommendations & recommendation) != 0;
}

void guest_begin(void) {
    const enum croft_hv_error error = croft_hv_find(&announced);
    if (error != CROFT_HV_OK) {
        bare_print("Bail out! %s\n", croft_hv_error_text(error));
        for (;;) {
            bare_forbid_interrupts();
            bare_wait_for_interrupt();
        }
    }
    (void)bare_enable_apic(false);
    count_interrupts(VECTOR_FENCE);
}

struct access {
    uint32_t msr;
    uint64_t value;
};

static void read_it(void* argument) {
    struct access* const access = argument;
    access->value = bare_read_msr(access->msr);
}

static void write_it(void* argument) {
    const struct access* const access = argument;
    bare_write_msr(access->msr, access->value);
}

int try_read_msr(uint32_t msr, uint64_t* value) {
    struct access access = {msr, 0};
    const int exception = bare_catch(read_it, &access);
    *value = access.value;
    return exception;
}

int try_write_msr(uint32_t msr, uint64_t value) {
    struct access access = {msr, value};
    return bare_catch(write_it, &access);
}

bool set_up_hypercalls(void) {
    const enum croft_hv_error error = croft_hv_set_up(&hypercalls, hypercall_page,
        address_of(hypercall_page), croft_hv_open_source_identity(0x7f, 0, 1, 0));
    check_equal("the hypercall page is set up", error, CROFT_HV_OK);
    return error == CROFT_HV_OK;
}

uint16_t call_with_input(uint16_t code, unsigned variable_header) {
    return croft_hv_status(
        croft_hv_call(&hypercalls, code, variable_header, address_of(call_input), 0));
}

static void (*volatile other_task)(void);

static void serve(void) {
    bare_allow_interrupts();
    for (;;) {
        if (other_task != NULL) {
            other_task();
            other_task = NULL;
        }
        bare_pause();
    }
}

bool start_other(void) {
    const bool there = bare_start_processor(OTHER_APIC_ID, serve);
    check("the other processor starts", there);
    return there;
}

void begin_on_other(void (*task)(void)) {
    other_task = task;
}

void wait_for_other(void) {
    while (other_task != NULL) {
        bare_pause();
    }
}

void run_on_other(void (*task)(void)) {
    begin_on_other(task);
    wait_for_other();
}

unsigned this_processor(void) {
    return bare_read_apic(BARE_APIC_ID) >> APIC_ID_SHIFT == OTHER_APIC_ID;
}

void end_interrupt(void) {
    bare_write_apic(BARE_APIC_EOI, 0);
}

static void count_one(struct bare_frame* frame) {
    ++interrupts[this_processor()][frame->vector];
    end_interrupt();
}

void count_interrupts(uint8_t vector) {
    bare_set_handler(vector, count_one);
}

void send_to_self(uint8_t vector) {
    bare_send(0, COMMAND_SELF | vector);
}

static bool has_come(const void* before) {
    return interrupts[this_processor()][VECTOR_FENCE] != *(const unsigned*)before;
}

bool take_interrupts(void) {
    const unsigned before = interrupts[this_processor()][VECTOR_FENCE];
    send_to_self(VECTOR_FENCE);
    return wait_until(has_come, &before);
}

static bool are_interrupts_allowed(void) {
    uint64_t flags;
    __asm__ volatile("pushf\n\tpop %0" : "=r"(flags));
    return (flags >> 9 & 1) != 0;
}

bool wait_until(bool (*is_so)(const void*), const void* argument) {
    const bool were_allowed = are_interrupts_allowed();
    bare_allow_interrupts();
    const uint64_t begin = bare_read_tsc();
    bool so = is_so(argument);
    while (!so && bare_read_tsc() - begin < VERY_LONG) {
        bare_pause();
        so = is_so(argument);
    }
    if (!were_allowed) {
        bare_forbid_interrupts();
    }
    return so;
}
