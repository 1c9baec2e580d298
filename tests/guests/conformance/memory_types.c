/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of memory types: they read as they were written, and take nothing that is none.
 * APM vol. 2, 7.7 "Memory-Type Range Registers", 7.8 "Page-Attribute Table Mechanism".
 */
#include "tests/guests/conformance/guest.h"

#define MSR_CAPABILITIES 0xfeu
#define MSR_VARIABLE 0x200u
#define MSR_PAT 0x277u
#define MSR_DEFAULT 0x2ffu
#define HAS_FIXED (1u << 8)
#define FEATURES_MTRR (1u << 12)
#define FEATURES_PAT (1u << 16)
#define DEFAULT_VALUE 0xc06u /* both kinds enabled; the rest is written back to */
#define VARIABLE_BASE 0x80000001u
#define VARIABLE_MASK 0x0f0000800u
#define FIXED_VALUE 0x0605040100060606ull
#define PAT_VALUE 0x0007040600070106ull
#define OTHER_PAT_VALUE 0x0007040600070406ull

static const uint32_t fixed[] = {
    0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
enum { FIXED_COUNT = sizeof fixed / sizeof fixed[0] };

static bool keeps(uint32_t msr, uint64_t value) {
    uint64_t found = 0;
    return try_write_msr(msr, value) == NO_EXCEPTION && try_read_msr(msr, &found) == NO_EXCEPTION &&
        found == value;
}

/* \return whether it takes a fault, and leaves the register as it is. */
static bool refuses(uint32_t msr, uint64_t value) {
    const uint64_t before = bare_read_msr(msr);
    return try_write_msr(msr, value) == EXCEPTION_GP && bare_read_msr(msr) == before;
}

static void check_variable(unsigned count) {
    bool all = true;
    for (unsigned i = 0; i < count; ++i) {
        all = keeps(MSR_VARIABLE + 2 * i, VARIABLE_BASE + i * BARE_PAGE_SIZE) &&
            keeps(MSR_VARIABLE + 2 * i + 1, VARIABLE_MASK) && all;
    }
    bool still = true;
    for (unsigned i = 0; i < count; ++i) {
        still = still && bare_read_msr(MSR_VARIABLE + 2 * i) == VARIABLE_BASE + i * BARE_PAGE_SIZE;
    }
    check("variable ranges are kept", all);
    check("each for itself", still);
    check("a base has no type that is none", refuses(MSR_VARIABLE, 2));
    check("nor an address beyond memory", refuses(MSR_VARIABLE, BEYOND_MEMORY));
    check("a mask has no type", refuses(MSR_VARIABLE + 1, VARIABLE_MASK | 6));
    for (unsigned i = 0; i < 2 * count; ++i) {
        bare_write_msr(MSR_VARIABLE + i, 0);
    }
}

static void check_fixed(void) {
    bool all = true;
    for (unsigned i = 0; i < FIXED_COUNT; ++i) {
        all = keeps(fixed[i], FIXED_VALUE - i % 2) && all;
    }
    bool still = true;
    for (unsigned i = 0; i < FIXED_COUNT; ++i) {
        still = still && bare_read_msr(fixed[i]) == FIXED_VALUE - i % 2;
    }
    check("fixed ranges are kept", all);
    check("each of them for itself", still);
    check("they have no type that is none", refuses(fixed[0], 0x0203000000000000ull));
}

static uint64_t other_pat;

static void set_on_other(void) {
    bare_write_msr(MSR_PAT, OTHER_PAT_VALUE);
    other_pat = bare_read_msr(MSR_PAT);
}

static void check_pat(void) {
    check("PAT is kept", keeps(MSR_PAT, PAT_VALUE));
    check("it has no type that is none", refuses(MSR_PAT, 2) && refuses(MSR_PAT, 3ull << 56));
    check("nor has it reserved bits", refuses(MSR_PAT, 8));
    if (start_other()) {
        run_on_other(set_on_other);
        check_equal("another processor has its own", other_pat, OTHER_PAT_VALUE);
        check_equal("which is not the first one's", bare_read_msr(MSR_PAT), PAT_VALUE);
    }
}

void bare_program(void) {
    guest_begin();
    const uint32_t features = bare_cpuid(1, 0).edx;
    if ((features & FEATURES_MTRR) != 0) {
        const uint64_t capabilities = bare_read_msr(MSR_CAPABILITIES);
        check("capabilities can't be written", refuses(MSR_CAPABILITIES, capabilities));
        check_at_least("there are variable ranges", capabilities & 0xff, 1);
        check_variable(capabilities & 0xff);
        if ((capabilities & HAS_FIXED) != 0) {
            check_fixed();
        } else {
            check_skipped("fixed ranges", NOT_ANNOUNCED);
        }
        check("the default type is kept", keeps(MSR_DEFAULT, DEFAULT_VALUE));
        check("it is no type that is none", refuses(MSR_DEFAULT, 2));
        check("it has no reserved bits", refuses(MSR_DEFAULT, 1u << 8));
    } else {
        check_skipped("ranges of memory types", NOT_ANNOUNCED);
    }
    if ((features & FEATURES_PAT) != 0) {
        check_pat();
    } else {
        check_skipped("PAT", NOT_ANNOUNCED);
    }
    check_plan();
}
