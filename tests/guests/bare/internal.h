/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the library and its start know of each other. */
#pragma once

#include "tests/guests/bare/bare.h"

/* Called by start.S. */
void bare_main(void);
void bare_processor_main(void);
void bare_handle_interrupt(struct bare_frame* frame);

/* The stack of the processor that is being started. */
extern uint64_t bare_processor_stack;

void bare_set_gates_up(void);
void bare_load_gates(void);

extern bool bare_uses_x2apic;
