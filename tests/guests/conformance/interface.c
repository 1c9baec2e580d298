/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What CPUID says, and whether the registers are what it says; how a hypercall page comes and goes.
 * TLFS "Feature and Interface Discovery", "HV_PARTITION_PRIVILEGE_MASK"; of "Hypercall Interface":
 * "Legal Hypercall Environments", "Reporting the Guest OS Identity", "Establishing the Hypercall
 * Interface (x86/x64)".
 */
#include "tests/guests/conformance/guest.h"
#include "tests/guests/conformance/user_mode.h"

#define LEAF_FIRST 0x40000000u
#define LEAF_LAST_POSSIBLE 0x400000ffu
#define LEAF_LEAST_LAST 0x40000005u
#define PATTERN 0x5ca1ab1e0ddba11ull
#define IDENTITY croft_hv_open_source_identity(0x7f, 0, 1, 0)
/* TLFS "HV_PARTITION_PRIVILEGE_MASK", "Register Address Mappings". */
#define ACCESS_REENLIGHTENMENT_CONTROLS (1ull << 13)
#define FEATURE_HYPERCALL_MSR_LOCK (1u << 18)

/* ---- CPUID ---- */

#define MOST_LEAVES 16u
static struct bare_cpuid_result other_leaves[MOST_LEAVES];

static void read_leaves(void) {
    for (uint32_t i = 0; i < MOST_LEAVES; ++i) {
        other_leaves[i] = bare_cpuid(LEAF_FIRST + i, 0);
    }
}

static bool leaves_are_the_others(void) {
    for (uint32_t i = 0; i < MOST_LEAVES && LEAF_FIRST + i <= announced.largest_leaf; ++i) {
        const struct bare_cpuid_result here = bare_cpuid(LEAF_FIRST + i, 0);
        const struct bare_cpuid_result there = other_leaves[i];
        if (here.eax != there.eax || here.ebx != there.ebx || here.ecx != there.ecx ||
            here.edx != there.edx) {
            return false;
        }
    }
    return true;
}

static void check_leaves(void) {
    const struct bare_cpuid_result vendor = bare_cpuid(HV_CPUID_VENDOR_AND_MAX_FUNCTION, 0);
    check_at_least("the leaves go to 0x40000005 or more", vendor.eax, LEAF_LEAST_LAST);
    check("the leaves end within their range", vendor.eax <= LEAF_LAST_POSSIBLE);
    check("the vendor is the interface's",
        vendor.ebx == HV_CPUID_VENDOR_EBX && vendor.ecx == HV_CPUID_VENDOR_ECX &&
            vendor.edx == HV_CPUID_VENDOR_EDX);
    check_equal("the interface has its signature", bare_cpuid(HV_CPUID_INTERFACE, 0).eax,
        HV_CPUID_INTERFACE_SIGNATURE);
    check("there is a version", announced.major != 0 || announced.build != 0);
    const struct bare_cpuid_result limits = bare_cpuid(HV_CPUID_IMPLEMENTATION_LIMITS, 0);
    check("two virtual processors are within the limits, where they are told",
        limits.eax == 0 || limits.eax >= 2);
    const uint64_t implied = HV_ACCESS_HYPERCALL_MSRS | HV_ACCESS_VP_INDEX;
    check_equal("what the interface implies is announced", announced.privileges & implied, implied);
    check_equal("frequencies are a feature and a privilege, or neither",
        has_feature(HV_FEATURE_FREQUENCY_REGS), has_privilege(HV_ACCESS_FREQUENCY_REGS));
    check("direct timers are announced with timers alone",
        !has_feature(HV_FEATURE_DIRECT_SYNTHETIC_TIMERS) ||
            has_privilege(HV_ACCESS_SYNTHETIC_TIMER_REGS));
    run_on_other(read_leaves);
    check("the other processor reads the same leaves", leaves_are_the_others());
}

/* ---- Registers ---- */

enum { READ_WRITE, READ_ONLY, WRITE_ONLY, NOT_TO_BE_READ };

struct announced_register {
    const char* name;
    uint32_t msr;
    unsigned kind;
    uint64_t privilege; /* or a feature, if this is 0 */
    uint32_t feature;
};

static const struct announced_register registers[] = {
    {"GUEST_OS_ID", HV_X64_MSR_GUEST_OS_ID, READ_WRITE, HV_ACCESS_HYPERCALL_MSRS, 0},
    {"HYPERCALL", HV_X64_MSR_HYPERCALL, READ_WRITE, HV_ACCESS_HYPERCALL_MSRS, 0},
    {"VP_INDEX", HV_X64_MSR_VP_INDEX, READ_ONLY, HV_ACCESS_VP_INDEX, 0},
    {"RESET", HV_X64_MSR_RESET, NOT_TO_BE_READ, HV_ACCESS_RESET_REG, 0},
    {"VP_RUNTIME", HV_X64_MSR_VP_RUNTIME, READ_ONLY, HV_ACCESS_VP_RUN_TIME_REG, 0},
    {"TIME_REF_COUNT", HV_X64_MSR_TIME_REF_COUNT, READ_ONLY, HV_ACCESS_PARTITION_REFERENCE_COUNTER,
        0},
    {"REFERENCE_TSC", HV_X64_MSR_REFERENCE_TSC, READ_WRITE, HV_ACCESS_PARTITION_REFERENCE_TSC, 0},
    {"TSC_FREQUENCY", HV_X64_MSR_TSC_FREQUENCY, READ_ONLY, HV_ACCESS_FREQUENCY_REGS, 0},
    {"APIC_FREQUENCY", HV_X64_MSR_APIC_FREQUENCY, READ_ONLY, HV_ACCESS_FREQUENCY_REGS, 0},
    {"EOI", HV_X64_MSR_EOI, WRITE_ONLY, HV_ACCESS_INTR_CTRL_REGS, 0},
    {"ICR", HV_X64_MSR_ICR, READ_WRITE, HV_ACCESS_INTR_CTRL_REGS, 0},
    {"TPR", HV_X64_MSR_TPR, READ_WRITE, HV_ACCESS_INTR_CTRL_REGS, 0},
    {"SCONTROL", HV_X64_MSR_SCONTROL, READ_WRITE, HV_ACCESS_SYNIC_REGS, 0},
    {"SVERSION", HV_X64_MSR_SVERSION, READ_ONLY, HV_ACCESS_SYNIC_REGS, 0},
    {"SIEFP", HV_X64_MSR_SIEFP, READ_WRITE, HV_ACCESS_SYNIC_REGS, 0},
    {"SIMP", HV_X64_MSR_SIMP, READ_WRITE, HV_ACCESS_SYNIC_REGS, 0},
    {"EOM", HV_X64_MSR_EOM, READ_WRITE, HV_ACCESS_SYNIC_REGS, 0},
    {"SINT0", HV_X64_MSR_SINT0, READ_WRITE, HV_ACCESS_SYNIC_REGS, 0},
    {"SINT15", HV_X64_MSR_SINT15, READ_WRITE, HV_ACCESS_SYNIC_REGS, 0},
    {"STIMER0_CONFIG", HV_X64_MSR_STIMER0_CONFIG, READ_WRITE, HV_ACCESS_SYNTHETIC_TIMER_REGS, 0},
    {"STIMER3_COUNT", HV_X64_MSR_STIMER3_COUNT, READ_WRITE, HV_ACCESS_SYNTHETIC_TIMER_REGS, 0},
    {"GUEST_IDLE", HV_X64_MSR_GUEST_IDLE, NOT_TO_BE_READ, HV_ACCESS_GUEST_IDLE_REG, 0},
    {"CRASH_P0", HV_X64_MSR_CRASH_P0, READ_WRITE, 0, HV_FEATURE_GUEST_CRASH_REGS},
    {"CRASH_P4", HV_X64_MSR_CRASH_P4, READ_WRITE, 0, HV_FEATURE_GUEST_CRASH_REGS},
    {"CRASH_CTL", HV_X64_MSR_CRASH_CTL, READ_WRITE, 0, HV_FEATURE_GUEST_CRASH_REGS},
    {"REENLIGHTENMENT_CONTROL", 0x40000106, READ_WRITE, ACCESS_REENLIGHTENMENT_CONTROLS, 0},
    {"TSC_INVARIANT_CONTROL", 0x40000118, READ_WRITE, HV_ACCESS_TSC_INVARIANT_CONTROLS, 0},
};

static void check_register(const struct announced_register* at) {
    const bool is_there =
        at->privilege != 0 ? has_privilege(at->privilege) : has_feature(at->feature);
    uint64_t value = 0;
    if (!is_there) {
        check_equal(check_words(at->name, "is announced, or its read faults"),
            (uint64_t)try_read_msr(at->msr, &value), EXCEPTION_GP);
        check_equal(check_words(at->name, "is announced, or its write faults"),
            (uint64_t)try_write_msr(at->msr, 0), EXCEPTION_GP);
        return;
    }
    if (at->kind == READ_WRITE || at->kind == READ_ONLY) {
        check_equal(check_words(at->name, "is announced and is read"),
            (uint64_t)try_read_msr(at->msr, &value), (uint64_t)NO_EXCEPTION);
    }
    if (at->kind == READ_ONLY) {
        check_equal(check_words(at->name, "is not written"),
            (uint64_t)try_write_msr(at->msr, value), EXCEPTION_GP);
    }
}

/* Numbers of the hypervisor's range that no register has. */
static void check_unknown_registers(void) {
    static const struct {
        const char* name;
        uint32_t msr;
    } unknown[] = {{"0x40000004", 0x40000004}, {"0x40000030", 0x40000030},
        {"0x4000008f", 0x4000008f}, {"0x400000a0", 0x400000a0}, {"0x400000ff", 0x400000ff}};
    for (unsigned i = 0; i < sizeof unknown / sizeof unknown[0]; ++i) {
        uint64_t value;
        check_equal(check_words(unknown[i].name, "is no register: its read faults"),
            (uint64_t)try_read_msr(unknown[i].msr, &value), EXCEPTION_GP);
        check_equal(check_words(unknown[i].name, "is no register: its write faults"),
            (uint64_t)try_write_msr(unknown[i].msr, 0), EXCEPTION_GP);
    }
}

/* ---- The hypercall page ---- */

static _Alignas(BARE_PAGE_SIZE) volatile uint64_t pages[2][BARE_PAGE_SIZE / sizeof(uint64_t)];
static uint64_t other_identity, other_hypercall;

static void read_on_other(void) {
    other_identity = bare_read_msr(HV_X64_MSR_GUEST_OS_ID);
    other_hypercall = bare_read_msr(HV_X64_MSR_HYPERCALL);
}

static bool is_enabled(void) {
    return (bare_read_msr(HV_X64_MSR_HYPERCALL) & HV_MSR_PAGE_ENABLE) != 0;
}

static void set_page(const volatile void* page) {
    bare_write_msr(HV_X64_MSR_HYPERCALL, address_of(page) | HV_MSR_PAGE_ENABLE);
}

static uint16_t call_at(const volatile void* page) {
    const struct croft_hv at = {(const void*)(uintptr_t)address_of(page)};
    return croft_hv_status(croft_hv_call_fast(&at, 0x7fff, 0, 0));
}

static void check_without_identity(void) {
    check_equal("there is no identity at first", bare_read_msr(HV_X64_MSR_GUEST_OS_ID), 0);
    check("the page is disabled at first", !is_enabled());
    check_equal("without an identity the page's register is still written",
        (uint64_t)try_write_msr(HV_X64_MSR_HYPERCALL, address_of(pages[0]) | HV_MSR_PAGE_ENABLE),
        (uint64_t)NO_EXCEPTION);
    check("but the page is not enabled", !is_enabled());
    check_equal("and memory is as it was", pages[0][0], PATTERN);
}

static void check_page(void) {
    bare_write_msr(HV_X64_MSR_GUEST_OS_ID, IDENTITY);
    check_equal("an identity is taken", bare_read_msr(HV_X64_MSR_GUEST_OS_ID), IDENTITY);
    set_page(pages[0]);
    check_equal("the page is enabled where it was asked for",
        bare_read_msr(HV_X64_MSR_HYPERCALL) & (HV_MSR_PAGE_ADDRESS_MASK | HV_MSR_PAGE_ENABLE),
        address_of(pages[0]) | HV_MSR_PAGE_ENABLE);
    check("its code covers memory", pages[0][0] != PATTERN);
    check_equal("it makes hypercalls", call_at(pages[0]), HV_STATUS_INVALID_HYPERCALL_CODE);
    run_on_other(read_on_other);
    check_equal("the identity is the partition's", other_identity, IDENTITY);
    check_equal("the page is the partition's", other_hypercall & HV_MSR_PAGE_ADDRESS_MASK,
        address_of(pages[0]));
    set_page(pages[1]);
    check_equal("it moves", call_at(pages[1]), HV_STATUS_INVALID_HYPERCALL_CODE);
    check_equal("where it was, memory is as it was", pages[0][0], PATTERN);
}

static void write_page(void* argument) {
    volatile uint64_t* const page = argument;
    page[256] = PATTERN;
}

static void check_refusals(void) {
    check_equal("the page is not written",
        (uint64_t)bare_catch(write_page, (void*)(uintptr_t)address_of(pages[1])), EXCEPTION_GP);
    check_equal("a page beyond the address space faults",
        (uint64_t)try_write_msr(HV_X64_MSR_HYPERCALL, BEYOND_MEMORY | HV_MSR_PAGE_ENABLE),
        EXCEPTION_GP);
    check_equal("and the page stays", call_at(pages[1]), HV_STATUS_INVALID_HYPERCALL_CODE);
}

static void check_user_mode(void) {
    user_mode_allow();
    check_equal("a hypercall at CPL 3 is an invalid opcode",
        (uint64_t)user_mode_call((const void*)(uintptr_t)address_of(pages[1])), EXCEPTION_UD);
}

static void check_end(void) {
    bare_write_msr(HV_X64_MSR_GUEST_OS_ID, 0);
    check("without an identity the page is disabled", !is_enabled());
    check_equal("and memory under it is as it was", pages[1][0], PATTERN);
    bare_write_msr(HV_X64_MSR_GUEST_OS_ID, IDENTITY);
    check("the identity alone doesn't enable it again", !is_enabled());
}

static void check_lock(void) {
    static const char words[] = "a locked page stays where it is";
    if (!has_feature(FEATURE_HYPERCALL_MSR_LOCK)) {
        check_skipped(words, NOT_ANNOUNCED);
        return;
    }
    const uint64_t locked = address_of(pages[0]) | HV_MSR_HYPERCALL_LOCKED | HV_MSR_PAGE_ENABLE;
    bare_write_msr(HV_X64_MSR_HYPERCALL, locked);
    (void)try_write_msr(HV_X64_MSR_HYPERCALL, address_of(pages[1]) | HV_MSR_PAGE_ENABLE);
    check_equal(words, bare_read_msr(HV_X64_MSR_HYPERCALL), locked);
}

void bare_program(void) {
    guest_begin();
    if (start_other()) {
        check_leaves();
        mark(pages[0], PATTERN);
        mark(pages[1], PATTERN);
        check_without_identity();
        for (unsigned i = 0; i < sizeof registers / sizeof registers[0]; ++i) {
            check_register(&registers[i]);
        }
        check_unknown_registers();
        check_page();
        check_refusals();
        check_user_mode();
        check_end();
        check_lock();
    }
    check_plan();
}
