/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guests/bare/internal.h"

#define COMMAND_INIT 0x4500u
#define COMMAND_STARTUP 0x4600u
#define TRAMPOLINE 0x8000u

extern const char bare_trampoline[], bare_trampoline_end[];

uint64_t bare_processor_stack;
static void (*volatile processor_call)(void);
static _Alignas(16) char processor_stacks[8][8192];
static unsigned processors_started;

void bare_processor_main(void) {
    void (*const call)(void) = processor_call;
    bare_load_gates();
    (void)bare_enable_apic(bare_uses_x2apic);
    processor_call = NULL;
    call();
}

bool bare_start_processor(uint32_t apic_id, void (*call)(void)) {
    if (processors_started == sizeof processor_stacks / sizeof processor_stacks[0]) {
        return false;
    }
    char* const stack = processor_stacks[processors_started++];
    bare_processor_stack = (uint64_t)(stack + sizeof processor_stacks[0]);
    volatile char* const to = (volatile char*)TRAMPOLINE;
    for (long i = 0; i < bare_trampoline_end - bare_trampoline; ++i) {
        to[i] = bare_trampoline[i];
    }
    processor_call = call;
    bare_send(apic_id, COMMAND_INIT);
    bare_send(apic_id, COMMAND_STARTUP | (TRAMPOLINE >> 12));
    for (uint64_t i = 0; processor_call != NULL; ++i) {
        if (i == 1ull << 32) {
            return false;
        }
        bare_pause();
    }
    return true;
}

void bare_main(void) {
    bare_set_gates_up();
    bare_program();
}
