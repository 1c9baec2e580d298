/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs of the suite share: what the hypervisor announces, its registers, hypercalls,
 * and the other one of the two processors that each program expects, with APIC id 1. The local
 * APICs are in xAPIC mode, which is what the registers of the TLFS are laid out for.
 */
#pragma once

#include "abi/cpuid.h"
#include "abi/hypercall.h"
#include "abi/msr.h"
#include "abi/status.h"
#include "hv/c/croft_hv.h"
#include "tests/guests/bare/bare.h"
#include "tests/guests/bare/tap.h"

#define EXCEPTION_UD 6
#define EXCEPTION_GP 13
#define NO_EXCEPTION (-1)

/* No processor has physical addresses of so many bits. */
#define BEYOND_MEMORY (1ull << 60)

#define NOT_ANNOUNCED "CPUID does not announce it"

/* What CPUID says; filled in by guest_begin(). */
extern struct croft_hv_information announced;

bool has_privilege(uint64_t privilege);
bool has_feature(uint32_t feature);
bool is_recommended(uint32_t recommendation);

/* Finds the hypervisor and turns the APIC on. Without a hypervisor the program ends. */
void guest_begin(void);

static inline uint64_t address_of(const volatile void* at) {
    return (uintptr_t)at;
}
/* Fills a page's first word, by which it is known again. */
static inline void mark(volatile uint64_t* page, uint64_t word) {
    *page = word;
}

/* ---- Registers ---- */

/* \return the exception that the access has led to, or NO_EXCEPTION. */
int try_read_msr(uint32_t msr, uint64_t* value);
int try_write_msr(uint32_t msr, uint64_t value);

/* ---- Hypercalls ---- */

extern struct croft_hv hypercalls;
extern volatile uint64_t call_input[BARE_PAGE_SIZE / sizeof(uint64_t)];
extern volatile uint64_t call_output[BARE_PAGE_SIZE / sizeof(uint64_t)];

/* Sets the page up; \return whether there is one, having said why if not. */
bool set_up_hypercalls(void);
/* A call with call_input, whose status is answered. */
uint16_t call_with_input(uint16_t code, unsigned variable_header);

/* ---- Two processors ---- */

/* Starts the other one; \return whether it is there, having said why if not. */
bool start_other(void);
/* Has the other one call `task`, and goes on at once, or when it is done. */
void begin_on_other(void (*task)(void));
void wait_for_other(void);
void run_on_other(void (*task)(void));
/* 0 on the first processor, 1 on the other. */
unsigned this_processor(void);

/* ---- Interrupts ---- */

/* Counts them for each processor, and says the end of each to the APIC. */
void count_interrupts(uint8_t vector);
extern volatile unsigned interrupts[2][256];
void end_interrupt(void);
/* Sends one to this processor. */
void send_to_self(uint8_t vector);
/*
 * Takes what waits for this processor: what was requested before, with a vector above
 * VECTOR_FENCE, has been handled when it returns. \return false if not even the fence came.
 */
bool take_interrupts(void);
#define VECTOR_FENCE 0x30u

/*
 * Waits until `is_so(argument)`, with interrupts allowed. What is right always comes to that; what
 * isn't, a lost interrupt for instance, ends the wait after very long, and costs one check instead
 * of all that follow.
 */
bool wait_until(bool (*is_so)(const void*), const void* argument);
