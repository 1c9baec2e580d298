/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interface of hypercalls, whatever they do: what is refused, and with which status; what a
 * call leaves alone. TLFS "Hypercall Interface": "Alignment Requirements", "Hypercall Inputs",
 * "Hypercall Outputs", "Volatile Registers (x86/x64)", "Hypercall Status Codes".
 */
#include "abi/memory.h"
#include "abi/types.h"
#include "tests/guests/conformance/guest.h"

#define NO_SUCH_CALL 0x7fffu
#define MISALIGNED 4u
#define REP_COUNT(count) ((uint64_t)(count) << HV_HYPERCALL_REP_COUNT_SHIFT)
#define REP_START(start) ((uint64_t)(start) << HV_HYPERCALL_REP_START_SHIFT)
#define IPI ((uint64_t)HVCALL_SEND_SYNTHETIC_CLUSTER_IPI)
#define VECTOR 0x40u

/* By the control word, with call_input and call_output. */
static uint64_t call(uint64_t control) {
    return croft_hv_call_word(
        &hypercalls, control, address_of(call_input), address_of(call_output));
}

static uint16_t status_of(uint64_t control) {
    return croft_hv_status(call(control));
}

static void check_code(void) {
    check_equal(
        "an unknown code is refused", status_of(NO_SUCH_CALL), HV_STATUS_INVALID_HYPERCALL_CODE);
    check_equal("an unknown code of a fast call is refused",
        status_of(NO_SUCH_CALL | HV_HYPERCALL_FAST), HV_STATUS_INVALID_HYPERCALL_CODE);
    check_equal("an unknown code of a rep call is refused", status_of(NO_SUCH_CALL | REP_COUNT(1)),
        HV_STATUS_INVALID_HYPERCALL_CODE);
}

/* One whose privilege the partition lacks is denied, or not known at all. */
static void check_privileges(void) {
    static const struct {
        const char* name;
        uint16_t code;
        uint64_t privilege;
    } calls[] = {{"CreatePartition", HVCALL_CREATE_PARTITION, HV_CREATE_PARTITIONS},
        {"GetPartitionId", HVCALL_GET_PARTITION_ID, HV_ACCESS_PARTITION_ID},
        {"GetMemoryBalance", HVCALL_GET_MEMORY_BALANCE, HV_ACCESS_MEMORY_POOL},
        {"PostMessage", HVCALL_POST_MESSAGE, HV_POST_MESSAGES},
        {"SignalEvent", HVCALL_SIGNAL_EVENT, HV_SIGNAL_EVENTS},
        {"MapStatsPage", HVCALL_MAP_STATS_PAGE, HV_ACCESS_STATS}};
    for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; ++i) {
        const char* const words = check_words(calls[i].name, "is announced or refused");
        if (has_privilege(calls[i].privilege)) {
            check_skipped(words, "it is announced");
            continue;
        }
        const uint16_t status = status_of(calls[i].code);
        check(
            words, status == HV_STATUS_ACCESS_DENIED || status == HV_STATUS_INVALID_HYPERCALL_CODE);
    }
}

/* ---- Simple calls: HvCallSendSyntheticClusterIpi, for nobody ---- */

static void check_control(void) {
    static const struct {
        const char* what;
        uint64_t bits;
    } wrong[] = {{"reserved bit 27", 1ull << 27}, {"reserved bit 30", 1ull << 30},
        {"reserved bit 44", 1ull << 44}, {"reserved bit 47", 1ull << 47},
        {"reserved bit 60", 1ull << 60}, {"reserved bit 63", 1ull << 63},
        {"a rep count", REP_COUNT(1)}, {"a rep start index", REP_START(1)},
        {"a variable header", 1ull << HV_HYPERCALL_VARIABLE_HEADER_SHIFT}};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
        check_equal(check_words(wrong[i].what, "of a simple call is refused"),
            status_of(IPI | wrong[i].bits), HV_STATUS_INVALID_HYPERCALL_INPUT);
    }
}

static uint16_t ipi_with_input_at(uint64_t gpa) {
    return croft_hv_status(croft_hv_call_word(&hypercalls, IPI, gpa, 0));
}

static void check_placement(void) {
    const uint64_t input = address_of(call_input);
    check_equal("misaligned input is refused", ipi_with_input_at(input + MISALIGNED),
        HV_STATUS_INVALID_ALIGNMENT);
    check_equal("input that spans pages is refused", ipi_with_input_at(input + BARE_PAGE_SIZE - 8),
        HV_STATUS_INVALID_ALIGNMENT);
    check_equal("input at a page's end is taken", ipi_with_input_at(input + BARE_PAGE_SIZE - 16),
        HV_STATUS_SUCCESS);
    check_equal("input beyond the address space is refused", ipi_with_input_at(BEYOND_MEMORY),
        HV_STATUS_INVALID_ALIGNMENT);
    check_equal("of a call without output its address is ignored",
        croft_hv_status(croft_hv_call_word(&hypercalls, IPI, input, MISALIGNED)),
        HV_STATUS_SUCCESS);
}

struct registers {
    uint64_t rax, rcx, rdx, r8, r9, r10, r11, rbx;
};

static void call_with_registers(struct registers* at) {
    __asm__ volatile("push %%rbx\n\t"
                     "mov %[at], %%rbx\n\t"
                     "push %%rbx\n\t"
                     "mov 8(%%rbx), %%rcx\n\t"
                     "mov 16(%%rbx), %%rdx\n\t"
                     "mov 24(%%rbx), %%r8\n\t"
                     "mov 32(%%rbx), %%r9\n\t"
                     "mov 40(%%rbx), %%r10\n\t"
                     "mov 48(%%rbx), %%r11\n\t"
                     "mov (%%rbx), %%rax\n\t"
                     "mov 56(%%rbx), %%rbx\n\t"
                     "call *%%rax\n\t"
                     "xchg %%rbx, (%%rsp)\n\t"
                     "mov %%rax, (%%rbx)\n\t"
                     "mov %%rcx, 8(%%rbx)\n\t"
                     "mov %%rdx, 16(%%rbx)\n\t"
                     "mov %%r8, 24(%%rbx)\n\t"
                     "mov %%r9, 32(%%rbx)\n\t"
                     "mov %%r10, 40(%%rbx)\n\t"
                     "mov %%r11, 48(%%rbx)\n\t"
                     "pop 56(%%rbx)\n\t"
                     "pop %%rbx"
                     :
                     : [at] "r"(at)
                     : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "cc", "memory");
}

static void check_registers(const char* kind, uint64_t control, uint64_t input, uint64_t output) {
    struct registers at = {address_of(hypercalls.page), control, input, output, 9, 10, 11, 12};
    call_with_registers(&at);
    check_equal(check_words(kind, "succeeds"), croft_hv_status(at.rax), HV_STATUS_SUCCESS);
    check(check_words(kind, "leaves its input's registers alone"),
        at.rdx == input && at.r8 == output);
    check(check_words(kind, "leaves other registers alone"),
        at.rcx == control && at.r9 == 9 && at.r10 == 10 && at.r11 == 11 && at.rbx == 12);
}

static void check_simple(void) {
    if (!is_recommended(HV_RECOMMEND_SYNTHETIC_CLUSTER_IPI)) {
        check_skipped("simple calls", NOT_ANNOUNCED);
        return;
    }
    call_input[0] = VECTOR;
    call_input[1] = 0;
    call_input[BARE_PAGE_SIZE / 8 - 2] = VECTOR;
    check_control();
    check_placement();
    check_registers("a simple call", IPI, address_of(call_input), 0);
    check_registers("a fast call", IPI | HV_HYPERCALL_FAST, VECTOR, 0);
}

/* ---- Rep calls ---- */

/* HvCallFlushVirtualAddressList, or HvCallGetVpIndexFromApicId, which no bit of CPUID announces. */
static uint64_t find_rep_call(void) {
    if (is_recommended(HV_RECOMMEND_HYPERCALL_REMOTE_FLUSH)) {
        call_input[0] = 0;
        call_input[1] = HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES;
        call_input[2] = 0;
        call_input[3] = call_input[4] = call_input[5] = address_of(call_output);
        return HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST;
    }
    call_input[0] = HV_PARTITION_ID_SELF;
    call_input[1] = call_input[2] = call_input[3] = 0;
    return status_of(HVCALL_GET_VP_INDEX_FROM_APIC_ID | REP_COUNT(1)) == HV_STATUS_SUCCESS
        ? HVCALL_GET_VP_INDEX_FROM_APIC_ID
        : 0;
}

static void check_rep(void) {
    const uint64_t code = find_rep_call();
    if (code == 0) {
        check_skipped("rep calls", NOT_ANNOUNCED);
        return;
    }
    check_equal(
        "a rep call of no reps is refused", status_of(code), HV_STATUS_INVALID_HYPERCALL_INPUT);
    check_equal("one that starts at its end is refused",
        status_of(code | REP_COUNT(2) | REP_START(2)), HV_STATUS_INVALID_HYPERCALL_INPUT);
    check_equal("one that starts beyond its end is refused",
        status_of(code | REP_COUNT(2) | REP_START(3)), HV_STATUS_INVALID_HYPERCALL_INPUT);
    check_equal("reserved bit 44 of a rep call is refused",
        status_of(code | REP_COUNT(1) | 1ull << 44), HV_STATUS_INVALID_HYPERCALL_INPUT);
    const uint64_t all = croft_hv_call_rep(
        &hypercalls, (uint16_t)code, 0, 3, address_of(call_input), address_of(call_output));
    check_equal("a rep call succeeds", croft_hv_status(all), HV_STATUS_SUCCESS);
    check_equal("all its reps are completed", croft_hv_reps_completed(all), 3);
    const uint64_t rest = call(code | REP_COUNT(3) | REP_START(2));
    check_equal("one that goes on succeeds", croft_hv_status(rest), HV_STATUS_SUCCESS);
    check_equal("its reps count from the list's start", croft_hv_reps_completed(rest), 3);
}

/* ---- Messages and events, for nobody ---- */

static void check_connections(void) {
    enum { connection = 0x00fffffe };
    call_input[0] = connection;
    call_input[1] = 1; /* the message's type, and a payload of no bytes */
    if (has_privilege(HV_POST_MESSAGES)) {
        check_equal("a message on a connection that is none is refused",
            status_of(HVCALL_POST_MESSAGE), HV_STATUS_INVALID_CONNECTION_ID);
    } else {
        check_skipped("a message on a connection that is none is refused", NOT_ANNOUNCED);
    }
    if (has_privilege(HV_SIGNAL_EVENTS)) {
        check_equal("an event on a connection that is none is refused",
            croft_hv_status(croft_hv_call_fast(&hypercalls, HVCALL_SIGNAL_EVENT, connection, 0)),
            HV_STATUS_INVALID_CONNECTION_ID);
    } else {
        check_skipped("an event on a connection that is none is refused", NOT_ANNOUNCED);
    }
}

void bare_program(void) {
    guest_begin();
    if (set_up_hypercalls()) {
        check_code();
        check_privileges();
        check_simple();
        check_rep();
        check_connections();
    }
    check_plan();
}
