/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guests/conformance/messages.h"

#include "abi/message.h"

static _Alignas(BARE_PAGE_SIZE) volatile struct hv_message_page message_pages[2];

volatile struct hv_message_page* message_page(void) {
    return &message_pages[this_processor()];
}

void set_message_page(bool enabled) {
    bare_write_msr(
        HV_X64_MSR_SIMP, address_of(message_page()) | (enabled ? HV_MSR_PAGE_ENABLE : 0));
}

void write_sint(unsigned sint, uint64_t value) {
    bare_write_msr(HV_X64_MSR_SINT0 + sint, value);
}

void enable_messages(void) {
    count_interrupts(VECTOR_SINT);
    set_message_page(true);
    bare_write_msr(HV_X64_MSR_SCONTROL, 1);
    write_sint(SINT, VECTOR_SINT);
}

bool slot_is_taken(unsigned sint) {
    return message_page()->sint_message[sint].header.message_type != HVMSG_NONE;
}

static bool is_taken(const void* sint) {
    return slot_is_taken(*(const unsigned*)sint);
}

bool wait_for_message(unsigned sint) {
    return wait_until(is_taken, &sint);
}

struct hv_timer_message_payload timer_message(unsigned sint) {
    struct hv_timer_message_payload payload;
    for (unsigned i = 0; i < sizeof payload; ++i) {
        ((uint8_t*)&payload)[i] = message_page()->sint_message[sint].payload[i];
    }
    return payload;
}

void free_slot(unsigned sint) {
    message_page()->sint_message[sint].header.message_type = HVMSG_NONE;
    bare_write_msr(HV_X64_MSR_EOM, 0);
}

uint64_t read_counter(void) {
    return bare_read_msr(HV_X64_MSR_TIME_REF_COUNT);
}

uint64_t read_timer_config(unsigned timer) {
    return bare_read_msr(HV_X64_MSR_STIMER0_CONFIG + 2 * timer);
}

uint64_t read_timer_count(unsigned timer) {
    return bare_read_msr(HV_X64_MSR_STIMER0_CONFIG + 2 * timer + 1);
}

void write_timer_config(unsigned timer, uint64_t value) {
    bare_write_msr(HV_X64_MSR_STIMER0_CONFIG + 2 * timer, value);
}

void write_timer_count(unsigned timer, uint64_t value) {
    bare_write_msr(HV_X64_MSR_STIMER0_CONFIG + 2 * timer + 1, value);
}

void start_timer(unsigned timer, uint64_t config, uint64_t count) {
    write_timer_config(timer, 0);
    write_timer_count(timer, count);
    write_timer_config(timer, config | TIMER_ENABLE);
}
