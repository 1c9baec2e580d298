/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processor's modes: in each of them instructions that somebody else carries out are what they
 * are in long mode, wherever they lie and whatever paging leads to them. APM vol. 2, 1.3 "Operating
 * Modes", 5.2 "Legacy-Mode Page Translation"; TLFS "Virtual Interrupt Controller".
 */
#include "tests/guests/conformance/modes.h"

#include "tests/guests/conformance/guest.h"

#define MSR_PAT 0x277u
#define APIC_VERSION 0x3u
#define IOAPIC_BASE 0xfec00000u
#define IOAPIC_WINDOW 0x10u
#define IOAPIC_VERSION 1u
#define CR0_PE 1u
#define CR0_PG (1u << 31)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define UPPER_HALF 0xabcd0000u /* of registers of which 16 bits are used */
#define STRING_LENGTH 3u
#define STRING_LAST 'c'
#define OFFSET_MASK 0xffffu

#define PRESENT_WRITABLE 3u
#define PRESENT 1u
#define LARGE_PAGE 0x83u
#define LARGE_PAGE_UNCACHED 0x9bu

struct findings {
    uint32_t cpuid[4], prefixed;
    uint32_t pat[2], new_pat[2];
    uint32_t port, string, count, source;
    uint32_t apic_version, tpr, ioapic;
    uint32_t cr0, cr4, address;
};
_Static_assert(sizeof(struct findings) == FOUND_SIZE, "modes_code.S has them so");
_Static_assert(offsetof(struct findings, ioapic) == FOUND_IOAPIC, "modes_code.S has them so");

extern const char modes_code[], modes_code_end[], modes_findings[];

static const struct mode {
    const char* name;
    uint32_t cr0;        /* PE and PG of it */
    uint32_t cr4;        /* PSE and PAE, where they matter */
    uint32_t address;    /* of the code */
    uint32_t upper_half; /* of what is counted in 16 bits */
} modes[MODE_COUNT] = {
    [MODE_LONG] = {"long mode:", CR0_PG | CR0_PE, CR4_PAE, MODES_BASE, 0},
    [MODE_COMPATIBILITY] = {"compatibility mode:", CR0_PG | CR0_PE, CR4_PAE, MODES_BASE, 0},
    [MODE_PAE_LARGE] = {"PAE, pages of 2 MiB:", CR0_PG | CR0_PE, CR4_PAE,
        MODES_LARGE_AT + MODES_BASE, 0},
    [MODE_PAE_SMALL] = {"PAE, pages of 4 KiB:", CR0_PG | CR0_PE, CR4_PAE,
        MODES_SMALL_AT + MODES_BASE, 0},
    [MODE_TWO_LEVEL_LARGE] = {"tables of two levels, pages of 4 MiB:", CR0_PG | CR0_PE, CR4_PSE,
        MODES_LARGE_AT + MODES_BASE, 0},
    [MODE_TWO_LEVEL_SMALL] = {"tables of two levels, pages of 4 KiB:", CR0_PG | CR0_PE, CR4_PSE,
        MODES_SMALL_AT + MODES_BASE, 0},
    [MODE_PROTECTED_32] = {"protected mode, 32 bits:", CR0_PE, 0, MODES_BASE, 0},
    [MODE_PROTECTED_16] = {"protected mode, 16 bits:", CR0_PE, 0, 0, UPPER_HALF},
    [MODE_REAL] = {"real mode:", 0, 0, 0, UPPER_HALF},
};

static volatile uint64_t* table(unsigned number) {
    return (volatile uint64_t*)(uintptr_t)(MODES_BASE + MODES_TABLES + number * BARE_PAGE_SIZE);
}

static uint32_t address_of_table(unsigned number) {
    return (uint32_t)address_of(table(number));
}

static void make_tables_of_two_levels(void) {
    volatile uint32_t* const directory = (volatile uint32_t*)table(MODES_TWO_LEVEL);
    volatile uint32_t* const low = (volatile uint32_t*)table(MODES_TWO_LEVEL_LOW);
    enum { shift = 22, entries = 1024 };
    directory[0] = LARGE_PAGE;
    directory[(uint32_t)MODES_LARGE_AT >> shift] = LARGE_PAGE;
    directory[(uint32_t)MODES_SMALL_AT >> shift] =
        address_of_table(MODES_TWO_LEVEL_LOW) | PRESENT_WRITABLE;
    directory[IOAPIC_BASE >> shift] = IOAPIC_BASE | LARGE_PAGE_UNCACHED; /* the APIC is there too */
    for (uint32_t i = 0; i < entries; ++i) {
        low[i] = i * BARE_PAGE_SIZE | PRESENT_WRITABLE;
    }
}

static void make_pae_tables(void) {
    enum { shift = 21, entries = 512, directories = 4 };
    for (unsigned i = 0; i < directories; ++i) {
        table(MODES_PAE)[i] = address_of_table(MODES_PAE_DIRECTORIES + i) | PRESENT;
    }
    table(MODES_PAE_DIRECTORIES)[0] = LARGE_PAGE;
    table(MODES_PAE_DIRECTORIES + 1)[0] = LARGE_PAGE;
    table(MODES_PAE_DIRECTORIES + 2)[0] = address_of_table(MODES_PAE_LOW) | PRESENT_WRITABLE;
    volatile uint64_t* const last = table(MODES_PAE_DIRECTORIES + 3);
    last[IOAPIC_BASE >> shift & (entries - 1)] = IOAPIC_BASE | LARGE_PAGE_UNCACHED;
    last[BARE_APIC_BASE >> shift & (entries - 1)] = BARE_APIC_BASE | LARGE_PAGE_UNCACHED;
    for (uint32_t i = 0; i < entries; ++i) {
        table(MODES_PAE_LOW)[i] = i * BARE_PAGE_SIZE | PRESENT_WRITABLE;
    }
}

static void prepare(void) {
    volatile char* const to = (volatile char*)(uintptr_t)MODES_BASE;
    for (long i = 0; i < modes_code_end - modes_code; ++i) {
        to[i] = modes_code[i];
    }
    for (unsigned i = 0; i < MODES_TABLE_COUNT; ++i) {
        for (unsigned word = 0; word < BARE_PAGE_SIZE / sizeof(uint64_t); ++word) {
            table(i)[word] = 0;
        }
    }
    make_tables_of_two_levels();
    make_pae_tables();
}

static void check_mode(unsigned number, const struct findings* expected) {
    const struct mode* const mode = &modes[number];
    const volatile struct findings* const found =
        (const volatile struct findings*)(uintptr_t)(MODES_BASE + (modes_findings - modes_code));
    ((void (*)(unsigned))(uintptr_t)MODES_BASE)(number);

    check_equal(check_words(mode->name, "it is that"),
        (found->cr0 & (CR0_PG | CR0_PE)) | (found->cr4 & (CR4_PAE | CR4_PSE) & mode->cr4),
        mode->cr0 | mode->cr4);
    check(check_words(mode->name, "its code is where it should be"),
        (mode->upper_half != 0 ? found->address & OFFSET_MASK : found->address) - mode->address <
            (uint32_t)(modes_code_end - modes_code));
    bool is_same = true;
    for (unsigned i = 0; i < sizeof found->cpuid / sizeof found->cpuid[0]; ++i) {
        is_same = is_same && found->cpuid[i] == expected->cpuid[i];
    }
    check(check_words(mode->name, "CPUID"), is_same);
    check_equal(
        check_words(mode->name, "CPUID with a prefix"), found->prefixed, expected->cpuid[1]);
    check(check_words(mode->name, "RDMSR"),
        found->pat[0] == expected->pat[0] && found->pat[1] == expected->pat[1]);
    check(check_words(mode->name, "WRMSR"),
        found->new_pat[0] == NEW_PAT_LOW && found->new_pat[1] == NEW_PAT_HIGH);
    check_equal(check_words(mode->name, "OUT and IN"), found->port, PORT_VALUE);
    check_equal(check_words(mode->name, "OUTSB writes all"), found->string, STRING_LAST);
    check_equal(check_words(mode->name, "it counts down"), found->count, mode->upper_half);
    check_equal(check_words(mode->name, "it goes along the string"), found->source,
        mode->upper_half + mode->address + (uint32_t)(modes_findings - modes_code) + FOUND_SIZE +
            STRING_LENGTH);
    check_equal(
        check_words(mode->name, "the APIC is read"), found->apic_version, expected->apic_version);
    check_equal(check_words(mode->name, "the APIC is written"), found->tpr, TPR_VALUE);
    check_equal(check_words(mode->name, "the I/O APIC is written and read"), found->ioapic,
        expected->ioapic);
}

void bare_program(void) {
    guest_begin();
    prepare();
    struct findings expected = {.apic_version = bare_read_apic(APIC_VERSION)};
    const struct bare_cpuid_result maker = bare_cpuid(HV_CPUID_VENDOR_AND_MAX_FUNCTION, 0);
    expected.cpuid[0] = maker.eax;
    expected.cpuid[1] = maker.ebx;
    expected.cpuid[2] = maker.ecx;
    expected.cpuid[3] = maker.edx;
    const uint64_t pat = bare_read_msr(MSR_PAT);
    expected.pat[0] = (uint32_t)pat;
    expected.pat[1] = (uint32_t)(pat >> 32);
    bare_write_mmio(IOAPIC_BASE, IOAPIC_VERSION);
    expected.ioapic = bare_read_mmio(IOAPIC_BASE + IOAPIC_WINDOW);
    for (unsigned i = 0; i < MODE_COUNT; ++i) {
        check_mode(i, &expected);
    }
    check_plan();
}
