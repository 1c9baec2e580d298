/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Message slots of the SynIC, and timers as the one source of messages that a guest has by itself;
 * each function is about the processor that calls it. TLFS "SynIC Messages", "Synthetic Timers".
 */
#pragma once

#include "abi/synic.h"
#include "tests/guests/conformance/guest.h"

#define SINT 2u
#define VECTOR_SINT 0x50u
#define SINT_MASKED (1ull << 16)
#define SINT_AUTO_EOI (1ull << 17)

#define TIMER_ENABLE (1ull << 0)
#define TIMER_PERIODIC (1ull << 1)
#define TIMER_LAZY (1ull << 2)
#define TIMER_AUTO_ENABLE (1ull << 3)
#define TIMER_VECTOR(vector) ((uint64_t)(vector) << 4)
#define TIMER_DIRECT (1ull << 12)
#define TIMER_SINT(sint) ((uint64_t)(sint) << 16)
#define TIMERS HV_SYNIC_STIMER_COUNT

/* The processor's message page: what is in the guest's memory, or the hypervisor's page over it. */
volatile struct hv_message_page* message_page(void);
void set_message_page(bool enabled);

void write_sint(unsigned sint, uint64_t value);
/* The SynIC and its message page on; SINT goes to VECTOR_SINT, which is counted. */
void enable_messages(void);

bool slot_is_taken(unsigned sint);
/* Waits until it is taken; \return whether it is. */
bool wait_for_message(unsigned sint);
struct hv_timer_message_payload timer_message(unsigned sint);
/* Gives the slot back, and says so. */
void free_slot(unsigned sint);

uint64_t read_counter(void);
uint64_t read_timer_config(unsigned timer);
uint64_t read_timer_count(unsigned timer);
void write_timer_config(unsigned timer, uint64_t value);
void write_timer_count(unsigned timer, uint64_t value);
/* Disables it, then starts it. */
void start_timer(unsigned timer, uint64_t config, uint64_t count);
