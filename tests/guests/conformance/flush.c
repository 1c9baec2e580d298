/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flushing translations by hypercall: when the call is done, the processors that were named use the
 * page table as it is. TLFS "Virtual MMU", "HvCallFlushVirtualAddressSpace",
 * "HvCallFlushVirtualAddressList", their Ex, "HV_VP_SET".
 */
#include "abi/memory.h"
#include "abi/types.h"
#include "tests/guests/conformance/guest.h"

/* A window of its own: an entry of the highest table that start.S leaves free. */
#define WINDOW (1ull << 39)
#define WINDOW_PAGES 8u
#define CHANGED 3u /* the page whose entry changes */
#define PRESENT_WRITABLE 3u
#define GLOBAL 0x100u
#define CR4_PGE 0x80u
#define NOT_CANONICAL (1ull << 62)
#define FIRST_WORD 0x0ddba11u
#define SECOND_WORD 0x5ca1ab1eu

extern volatile uint64_t bare_page_tables[];
static _Alignas(BARE_PAGE_SIZE) volatile uint64_t pointers[512], directory[512], table[512];
static _Alignas(BARE_PAGE_SIZE) volatile uint64_t first_page[512], second_page[512];
static uint64_t vp_index[2];
static uint64_t address_space;

static void learn_index(void) {
    vp_index[this_processor()] = bare_read_msr(HV_X64_MSR_VP_INDEX);
}

static uint64_t mask_of(unsigned processor) {
    return 1ull << vp_index[processor];
}

static uint64_t window(unsigned page) {
    return WINDOW + (uint64_t)page * BARE_PAGE_SIZE;
}

static uint64_t read_window(void) {
    return *(volatile uint64_t*)window(CHANGED);
}

static void forget_all(void) {
    __asm__ volatile("mov %%cr3, %%rax\n\tmov %%rax, %%cr3" : : : "rax", "memory");
}

static void allow_global(void) {
    uint64_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_PGE) : "memory");
}

static void forget_global(void) {
    uint64_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4\n\tmov %1, %%cr4"
                     :
                     : "r"(cr4 & ~(uint64_t)CR4_PGE), "r"(cr4)
                     : "memory");
}

static void set_up_window(void) {
    mark(first_page, FIRST_WORD);
    mark(second_page, SECOND_WORD);
    for (unsigned i = 0; i < WINDOW_PAGES; ++i) {
        table[i] = address_of(first_page) | PRESENT_WRITABLE;
    }
    directory[0] = address_of(table) | PRESENT_WRITABLE;
    pointers[0] = address_of(directory) | PRESENT_WRITABLE;
    bare_page_tables[WINDOW >> 39] = address_of(pointers) | PRESENT_WRITABLE;
    address_space = address_of(bare_page_tables);
}

/* ---- The reader: it reads on and on, and once more when it has seen the flush done ---- */

static volatile bool has_read, is_flushed;
static volatile uint64_t read_after;

static void keep_reading(void) {
    while (!is_flushed) {
        has_read = read_window() == FIRST_WORD;
    }
    read_after = read_window();
}

static bool reader_reads(const void* argument) {
    (void)argument;
    return has_read;
}

/* ---- Ways to flush; each answers the status ---- */

static uint16_t flush(uint64_t space, uint64_t flags, uint64_t mask) {
    call_input[0] = space;
    call_input[1] = flags;
    call_input[2] = mask;
    return call_with_input(HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE, 0);
}

static uint16_t flush_list(uint64_t flags, uint64_t mask, uint64_t first, uint64_t second) {
    call_input[0] = address_space;
    call_input[1] = flags;
    call_input[2] = mask;
    call_input[3] = first;
    call_input[4] = second;
    const uint64_t result = croft_hv_call_rep(
        &hypercalls, HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST, 0, 2, address_of(call_input), 0);
    return croft_hv_reps_completed(result) == 2 || croft_hv_status(result) != HV_STATUS_SUCCESS
        ? croft_hv_status(result)
        : HV_STATUS_OPERATION_FAILED;
}

static void fill_set(uint64_t format, uint64_t banks, uint64_t contents) {
    call_input[0] = address_space;
    call_input[1] = 0;
    call_input[2] = format;
    call_input[3] = banks;
    call_input[4] = contents;
}

static uint16_t flush_set(uint64_t format, uint64_t banks, uint64_t contents, unsigned size) {
    fill_set(format, banks, contents);
    return call_with_input(HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX, size);
}

static uint16_t by_mask(void) {
    return flush(address_space, 0, mask_of(1));
}
static uint16_t by_mask_of_both(void) {
    return flush(address_space, 0, mask_of(0) | mask_of(1));
}
static uint16_t on_all_processors(void) {
    return flush(address_space, HV_FLUSH_ALL_PROCESSORS, 0);
}
static uint16_t in_all_spaces(void) {
    return flush(0, HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES, mask_of(1));
}
static uint16_t what_is_not_global(void) {
    return flush(address_space, HV_FLUSH_NON_GLOBAL_MAPPINGS_ONLY, mask_of(1));
}
static uint16_t by_address(void) {
    return flush_list(0, mask_of(1), window(0), window(CHANGED));
}
/* The low bits of an address say how many pages follow it. */
static uint16_t by_range(void) {
    return flush_list(0, mask_of(1), window(1) | (WINDOW_PAGES - 2), window(0));
}
static uint16_t by_address_on_all(void) {
    return flush_list(HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES, 0,
        window(CHANGED), window(0));
}
static uint16_t by_set(void) {
    return flush_set(HV_GENERIC_SET_SPARSE_4K, 1, mask_of(1), 1);
}
static uint16_t by_set_of_all(void) {
    return flush_set(HV_GENERIC_SET_ALL, 0, 0, 0);
}
static uint16_t by_address_and_set(void) {
    fill_set(HV_GENERIC_SET_SPARSE_4K, 1, mask_of(1));
    call_input[5] = window(CHANGED);
    return croft_hv_status(croft_hv_call_rep(
        &hypercalls, HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST_EX, 1, 1, address_of(call_input), 0));
}

struct way {
    const char* name;
    uint16_t (*flush)(void);
    uint64_t entry_bits;
};

/* The entry changes while the other processor reads by it. */
static void check_way(const struct way* way) {
    table[CHANGED] = address_of(first_page) | PRESENT_WRITABLE | way->entry_bits;
    run_on_other(forget_global);
    forget_global();
    has_read = is_flushed = false;
    begin_on_other(keep_reading);
    const bool reads = wait_until(reader_reads, NULL);
    table[CHANGED] = address_of(second_page) | PRESENT_WRITABLE | way->entry_bits;
    const uint16_t status = way->flush();
    is_flushed = true;
    wait_for_other();
    check(check_words("the page is read at first:", way->name), reads);
    check_equal(check_words("succeeds:", way->name), status, HV_STATUS_SUCCESS);
    check_equal(check_words("the new page is read:", way->name), read_after, SECOND_WORD);
}

static const struct way ways[] = {{"by mask", by_mask, 0},
    {"a global mapping by mask", by_mask, GLOBAL}, {"by mask of both", by_mask_of_both, 0},
    {"on all processors", on_all_processors, 0}, {"in all address spaces", in_all_spaces, 0},
    {"mappings that are not global", what_is_not_global, 0}, {"by address", by_address, 0},
    {"a global mapping by address", by_address, GLOBAL}, {"by range", by_range, 0},
    {"by address on all processors", by_address_on_all, 0}};
static const struct way ways_by_set[] = {{"by set", by_set, 0}, {"by set of all", by_set_of_all, 0},
    {"by address and set", by_address_and_set, 0}};

/* Its own translations are flushed like those of others. */
static void check_own(void) {
    table[CHANGED] = address_of(first_page) | PRESENT_WRITABLE;
    forget_all();
    check_equal("the processor itself reads the page at first", read_window(), FIRST_WORD);
    table[CHANGED] = address_of(second_page) | PRESENT_WRITABLE;
    check_equal("it flushes its own", flush(address_space, 0, mask_of(0)), HV_STATUS_SUCCESS);
    check_equal("it reads the new page itself", read_window(), SECOND_WORD);
}

static void check_statuses(void) {
    check_equal("to flush on no processor succeeds", flush(address_space, 0, 0), HV_STATUS_SUCCESS);
    check(
        "an unknown flag is refused", flush(address_space, 0x100, mask_of(1)) != HV_STATUS_SUCCESS);
    check("an unknown high flag is refused",
        flush(address_space, 1ull << 63, mask_of(1)) != HV_STATUS_SUCCESS);
    check("an unknown flag of a list is refused",
        flush_list(0x100, mask_of(1), window(0), window(1)) != HV_STATUS_SUCCESS);
    check("a list of what is not global is refused",
        flush_list(HV_FLUSH_NON_GLOBAL_MAPPINGS_ONLY, mask_of(1), window(0), window(1)) !=
            HV_STATUS_SUCCESS);
    check_equal("addresses that are none are passed over",
        flush_list(0, mask_of(1), NOT_CANONICAL, window(0)), HV_STATUS_SUCCESS);
}

static void check_sets(void) {
    if (!is_recommended(HV_RECOMMEND_EX_PROCESSOR_MASKS)) {
        check_skipped("sets of processors", NOT_ANNOUNCED);
        return;
    }
    for (unsigned i = 0; i < sizeof ways_by_set / sizeof ways_by_set[0]; ++i) {
        check_way(&ways_by_set[i]);
    }
    check_equal("a set of an empty bank succeeds", flush_set(HV_GENERIC_SET_SPARSE_4K, 1, 0, 1),
        HV_STATUS_SUCCESS);
    check("a set with fewer banks than it says is refused",
        flush_set(HV_GENERIC_SET_SPARSE_4K, 3, mask_of(1), 1) != HV_STATUS_SUCCESS);
    check(
        "a set of no known format is refused", flush_set(2, 1, mask_of(1), 1) != HV_STATUS_SUCCESS);
}

void bare_program(void) {
    guest_begin();
    if (!is_recommended(HV_RECOMMEND_HYPERCALL_REMOTE_FLUSH)) {
        check_skipped("flushes by hypercall", NOT_ANNOUNCED);
    } else if (start_other() && set_up_hypercalls()) {
        learn_index();
        run_on_other(learn_index);
        set_up_window();
        allow_global();
        run_on_other(allow_global);
        for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; ++i) {
            check_way(&ways[i]);
        }
        check_own();
        check_statuses();
        check_sets();
    }
    check_plan();
}
