// SPDX-License-Identifier: Apache-2.0
// A parent that makes calls at random, in every state of a few children: codes of the table, and
// some that it has not, with values that find mistakes. What it gives away is only memory that it
// does not need; else all is allowed but to switch the machine off. In the end its children go, and
// the pools have what was put into them.
#include "abi/exit_trace.h"
#include "abi/interrupt.h"
#include "abi/port.h"
#include "abi/register.h"
#include "abi/system.h"
#include "hypervisor/hypercall/table.hpp"
#include "tests/guests/random.hpp"
#include "tests/guests/root/root.hpp"

#include <initializer_list>

namespace root {

namespace {

using hypervisor::CallEntry;

constexpr unsigned most_children = 4;
constexpr std::uint32_t most_ports = 200; ///< of two pages
constexpr std::uint64_t self = HV_PARTITION_ID_SELF;
constexpr std::uint64_t hypervisors_page = 0x100;

template <class T, std::size_t Count>
constexpr std::size_t count_of(const T (&)[Count]) {
    return Count;
}

constexpr std::uint32_t properties[] = {HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS,
    HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES, HV_PARTITION_PROPERTY_SUSPEND,
    HV_PARTITION_PROPERTY_CPU_WEIGHT, HV_PARTITION_PROPERTY_CPU_CAP,
    HV_PARTITION_PROPERTY_CPU_RESERVE, HV_PARTITION_PROPERTY_TIME_FREEZE,
    HV_PARTITION_PROPERTY_REFERENCE_TIME, HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET,
    HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING, HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION,
    HV_PARTITION_PROPERTY_PROCESSOR_VENDOR, HV_PARTITION_PROPERTY_XSAVE_STATES,
    HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE, HV_PARTITION_PROPERTY_VMM_CAPABILITIES,
    HV_PARTITION_PROPERTY_ASSIGNABLE_SYNTHETIC_PROC_FEATURES};
constexpr std::uint32_t register_ranges[] = {HV_REGISTER_EXPLICIT_SUSPEND,
    HV_REGISTER_HYPERVISOR_VERSION, HV_REGISTER_GUEST_CRASH_P0, HV_REGISTER_PENDING_INTERRUPTION,
    HV_X64_REGISTER_RAX, HV_X64_REGISTER_XMM0, HV_X64_REGISTER_CR0,
    HV_X64_REGISTER_INTERMEDIATE_CR0, HV_X64_REGISTER_DR0, HV_X64_REGISTER_ES, HV_X64_REGISTER_IDTR,
    HV_X64_REGISTER_TSC, HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0, HV_X64_REGISTER_MSR_MTRR_FIX64K00000,
    HV_X64_REGISTER_TSC_VIRTUAL_OFFSET, HV_REGISTER_VP_RUNTIME, HV_REGISTER_VP_ASSIST_PAGE,
    HV_REGISTER_SINT0, HV_REGISTER_SCONTROL, HV_REGISTER_STIMER0_CONFIG};

/// Calls whose input is not left to chance: a list of the caller's pages, which others then write
/// to; a time for which a child runs in the caller's place, where 0 is for ever; the number of a
/// port, by which it is found again.
constexpr bool needs_care(std::uint64_t code) {
    return code == HVCALL_MAP_GPA_PAGES || code == HVCALL_GET_VP_STATE ||
        code == HVCALL_DISPATCH_VP || code == HVCALL_CREATE_PORT;
}

/// Not to switch the machine off; nor to make partitions and to give pages that nobody would end
/// and take back: those calls are made by make_child.
constexpr bool may_make(std::uint64_t code) {
    switch (code) {
    case HVCALL_ENTER_SLEEP_STATE:
    case HVCALL_CREATE_PARTITION:
    case HVCALL_DELETE_PARTITION:
    case HVCALL_DEPOSIT_MEMORY:
    case HVCALL_WITHDRAW_MEMORY:
        return false;
    default:
        return true;
    }
}

/// What must be zero makes a call end before it has begun.
void clear_reserved(const CallEntry& entry) {
    for (const hypervisor::ReservedBits& bits : hypervisor::hypercall::reserved_bits(entry)) {
        std::uint64_t value = 0;
        __builtin_memcpy(&value, input_page + bits.offset, sizeof value);
        put(value & ~bits.mask, bits.offset);
    }
}

class Fuzzer {
public:
    explicit Fuzzer(std::uint64_t seed) : random_{seed}, memory_{free_memory()} {
        // The second half is what children get; deposits come out of the first.
        shared_ = {memory_.first + memory_.count / 2, memory_.count / 2};
    }

    void run(std::uint64_t calls);
    [[nodiscard]] std::uint64_t made() const { return made_; }
    [[nodiscard]] std::uint64_t granted() const { return granted_; }
    [[nodiscard]] bool end_all();
    /// What the caller has for itself: ports, pages of statistics, and the trace of exits.
    void end_own() const;

private:
    std::uint64_t value();
    std::uint64_t page();
    std::uint64_t partition();
    std::uint32_t register_name() {
        return register_ranges[random_.below(count_of(register_ranges))] +
            static_cast<std::uint32_t>(random_.below(16));
    }
    std::uint32_t port_id() { return static_cast<std::uint32_t>(random_.below(most_ports)); }
    std::uint32_t some_trace();
    hv_input_create_port some_port();
    hv_input_connect_port some_connection();
    void make_child();
    void end_child(std::uint64_t& id);
    void random_call();
    void fill(const CallEntry& entry, unsigned reps);
    void fill_body(const CallEntry& entry, unsigned reps);
    std::uint64_t control_word(const CallEntry& entry, unsigned reps);
    void pay();
    static void see_to_pages(unsigned count);

    croft::guests::Random random_;
    Pages memory_;
    Pages shared_;
    std::uint64_t children_[most_children] = {};
    std::uint64_t made_ = 0;
    std::uint64_t granted_ = 0;
    std::uint64_t trace_key_ = bare_read_msr(HV_X64_MSR_EXIT_TRACE_KEY);
    bool tells_ = has_option("trace");
};

/// What finds mistakes: ends of ranges, single bits, small numbers, pages.
std::uint64_t Fuzzer::value() {
    switch (random_.below(8)) {
    case 0:
        return 0;
    case 1:
        return ~std::uint64_t{0} - random_.below(3);
    case 2:
        return 1ull << random_.below(64);
    case 3:
        return (1ull << random_.below(64)) - 1;
    case 4:
        return random_.below(64);
    case 5:
        return random_.next() >> 32;
    case 6:
        return page();
    default:
        return random_.next();
    }
}

/// A page number: of what may be given away, or of what can't be.
std::uint64_t Fuzzer::page() {
    switch (random_.below(8)) {
    case 0:
        return hypervisors_page + random_.below(256);
    case 1:
        return (1ull << 36) - random_.below(3);
    case 2:
        return 1ull << (36 + random_.below(28));
    case 3:
        return (shared_.first + random_.below(shared_.count)) & ~std::uint64_t{511};
    default:
        return shared_.first + random_.below(shared_.count);
    }
}

std::uint64_t Fuzzer::partition() {
    const std::uint64_t kind = random_.below(16);
    return kind == 0 ? value() : kind == 1 ? self : children_[random_.below(most_children)];
}

/// A property of the trace of exits: of the one LP that there is, most often.
std::uint32_t Fuzzer::some_trace() {
    if (random_.one_in(4)) {
        return HV_PARTITION_PROPERTY_EXIT_TRACE +
            static_cast<std::uint32_t>(random_.below(2 * HV_EXIT_TRACE_MAX_LPS));
    }
    return random_.one_in(4) ? HV_PARTITION_PROPERTY_EXIT_TRACE_END
                             : HV_PARTITION_PROPERTY_EXIT_TRACE;
}

/// A doorbell of the caller's, most often; and few enough that one is made twice.
hv_input_create_port Fuzzer::some_port() {
    hv_input_create_port port{};
    port.port_partition_id = random_.one_in(16) ? partition() : self;
    port.port_id = port_id();
    port.connection_partition_id = partition();
    port.port_info.port_type = random_.one_in(16) ? HV_PORT_TYPE_EVENT : HV_PORT_TYPE_DOORBELL;
    port.port_info.doorbell.target_sint = static_cast<std::uint32_t>(random_.below(17));
    port.port_info.doorbell.target_vp = random_.one_in(2) ? 0 : static_cast<std::uint32_t>(value());
    return port;
}

hv_input_connect_port Fuzzer::some_connection() {
    hv_input_connect_port connection{};
    connection.connection_partition_id = partition();
    connection.connection_id = port_id();
    connection.port_partition_id = random_.one_in(16) ? partition() : self;
    connection.port_id = port_id();
    connection.connection_info.port_type =
        random_.one_in(16) ? HV_PORT_TYPE_EVENT : HV_PORT_TYPE_DOORBELL;
    connection.connection_info.doorbell.gpa = random_.one_in(2)
        ? value()
        : HV_SIGNAL_WINDOW_BASE + random_.below(most_ports) * HV_SIGNAL_WINDOW_STRIDE;
    connection.connection_info.doorbell.trigger_value = value();
    connection.connection_info.doorbell.flags = value();
    return connection;
}

void Fuzzer::make_child() {
    std::uint64_t& place = children_[random_.below(most_children)];
    if (place != 0) {
        end_child(place);
        return;
    }
    see_to_pages(2);
    hv_input_create_partition settings{};
    settings.flags = random_.one_in(4) ? value() : HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED;
    put(settings);
    clear_reserved(*hypervisor::hypercall::find(HVCALL_CREATE_PARTITION));
    if (call_word(HVCALL_CREATE_PARTITION, address(input_page), address(output_page)).status !=
        HV_STATUS_SUCCESS) {
        return;
    }
    place = got<std::uint64_t>();
    if (!random_.one_in(8)) {
        (void)deposit(place, static_cast<unsigned>(random_.below(128)));
    }
    if (!random_.one_in(8)) {
        (void)call(HVCALL_INITIALIZE_PARTITION, hv_input_partition{.partition_id = place});
    }
    for (std::uint32_t i = 0; i < random_.below(4); ++i) {
        hv_input_create_vp vp{};
        vp.partition_id = place;
        vp.vp_index = i;
        (void)call(HVCALL_CREATE_VP, vp);
    }
}

void Fuzzer::end_child(std::uint64_t& id) {
    const hv_input_partition which{.partition_id = id};
    (void)call(HVCALL_FINALIZE_PARTITION, which);
    (void)withdraw_all(id);
    if (call(HVCALL_DELETE_PARTITION, which).status == HV_STATUS_SUCCESS) {
        id = 0;
    }
}

void Fuzzer::fill(const CallEntry& entry, unsigned reps) {
    for (unsigned i = 0; i < HV_PAGE_SIZE / sizeof(std::uint64_t) / 8; ++i) {
        put(value(), i * sizeof(std::uint64_t));
    }
    put(partition());
    // Behind it comes a processor's index in many, a property or a page number in others.
    if (!random_.one_in(8)) {
        put(random_.below(5), sizeof(std::uint64_t));
    }
    if (needs_care(entry.code) || !random_.one_in(8)) {
        fill_body(entry, reps);
    }
    if (!random_.one_in(16)) {
        clear_reserved(entry);
    }
}

void Fuzzer::fill_body(const CallEntry& entry, unsigned reps) {
    switch (entry.code) {
    case HVCALL_GET_PARTITION_PROPERTY_EX:
        if (random_.one_in(2)) {
            put(random_.one_in(8) ? partition() : self);
            put<std::uint64_t>(some_trace(), 8);
            put(random_.one_in(8) ? value() : trace_key_, 16);
            break;
        }
        [[fallthrough]];
    case HVCALL_GET_PARTITION_PROPERTY:
    case HVCALL_SET_PARTITION_PROPERTY:
        put<std::uint64_t>(properties[random_.below(count_of(properties))], 8);
        break;
    case HVCALL_GET_VP_REGISTERS:
        for (unsigned i = 0; i < reps; ++i) {
            put(register_name(), sizeof(hv_input_get_vp_registers) + i * sizeof(std::uint32_t));
        }
        break;
    case HVCALL_SET_VP_REGISTERS:
        for (unsigned i = 0; i < reps; ++i) {
            hv_register_assoc one{};
            one.name = register_name();
            one.value.reg128 = {value(), random_.one_in(2) ? 0 : value()};
            put(one, sizeof(hv_input_set_vp_registers) + i * sizeof one);
        }
        break;
    case HVCALL_MAP_GPA_PAGES:
        put(random_.one_in(4) ? value() : random_.below(4096), 8);
        put<std::uint32_t>(
            static_cast<std::uint32_t>(random_.one_in(8) ? value() : random_.below(16)) |
                (random_.one_in(4) ? HV_MAP_GPA_LARGE_PAGE : 0),
            16);
        for (unsigned i = 0; i < reps; ++i) {
            put(page(), sizeof(hv_input_map_gpa_pages) + i * sizeof(std::uint64_t));
        }
        break;
    case HVCALL_UNMAP_GPA_PAGES:
    case HVCALL_GET_GPA_PAGES_ACCESS_STATES:
        put(random_.below(4096), entry.code == HVCALL_UNMAP_GPA_PAGES ? 8 : 16);
        put<std::uint64_t>(random_.below(16), entry.code == HVCALL_UNMAP_GPA_PAGES ? 16 : 8);
        break;
    case HVCALL_INSTALL_INTERCEPT:
    case HVCALL_REGISTER_INTERCEPT_RESULT:
    case HVCALL_UNREGISTER_INTERCEPT_RESULT:
        put<std::uint32_t>(
            random_.one_in(2) ? HV_ANY_VP : static_cast<std::uint32_t>(random_.below(8)), 8);
        put<std::uint32_t>(static_cast<std::uint32_t>(random_.below(20)), 12);
        break;
    case HVCALL_GET_VP_STATE:
    case HVCALL_SET_VP_STATE:
        put<std::uint32_t>(static_cast<std::uint32_t>(random_.below(6)) |
                (random_.one_in(2) ? HV_VP_STATE_TYPE_PFN : 0),
            16);
        for (unsigned i = 0; i < 30; ++i) {
            put(page(), sizeof(hv_input_vp_state) + i * sizeof(std::uint64_t));
        }
        break;
    case HVCALL_CREATE_PORT:
        put(some_port());
        break;
    case HVCALL_CONNECT_PORT:
        put(some_connection());
        break;
    case HVCALL_DELETE_PORT:
        put(self);
        [[fallthrough]];
    case HVCALL_DISCONNECT_PORT:
        put<std::uint32_t>(port_id(), sizeof(std::uint64_t));
        break;
    case HVCALL_DISPATCH_VP:
        put<std::uint32_t>(static_cast<std::uint32_t>(random_.below(0x80)), 12);
        put<std::uint64_t>(1 + random_.below(1000), 16);
        break;
    case HVCALL_MAP_STATS_PAGE:
    case HVCALL_UNMAP_STATS_PAGE:
        put<std::uint64_t>(random_.one_in(2) ? random_.below(3) : 0x10000 + random_.below(4), 0);
        put(partition(), 8);
        put(random_.below(3), 16);
        break;
    default:
        break;
    }
}

std::uint64_t Fuzzer::control_word(const CallEntry& entry, unsigned reps) {
    std::uint64_t control = (random_.one_in(64) ? random_.below(0x10000) : entry.code) |
        static_cast<std::uint64_t>(reps) << HV_HYPERCALL_REP_COUNT_SHIFT;
    if (random_.one_in(8)) {
        control |= random_.below(reps + 2) << HV_HYPERCALL_REP_START_SHIFT;
    }
    if (entry.has_variable_header || random_.one_in(64)) {
        control |= random_.below(random_.one_in(8) ? 0x400 : 30)
            << HV_HYPERCALL_VARIABLE_HEADER_SHIFT;
    }
    if (random_.one_in(16)) {
        control |= HV_HYPERCALL_FAST;
    }
    return random_.one_in(64) ? control ^ 1ull << random_.below(64) : control;
}

/// Of the input.
unsigned long long word(std::size_t at) {
    std::uint64_t value = 0;
    __builtin_memcpy(&value, input_page + at, sizeof value);
    return value;
}

void Fuzzer::random_call() {
    const auto rows = hypervisor::hypercall::table();
    const CallEntry& entry = rows[random_.below(rows.size())];
    unsigned reps = 0;
    if (entry.is_rep) {
        reps = 1 + static_cast<unsigned>(random_.below(random_.one_in(8) ? 60 : 4));
    }
    const std::uint64_t control = control_word(entry, reps);
    const std::uint64_t code = control & HV_HYPERCALL_CODE_MASK;
    if (!may_make(code) || (needs_care(code) && code != entry.code)) {
        make_child();
        ++made_;
        return;
    }
    fill(entry, reps);
    std::uint64_t input = address(input_page);
    std::uint64_t output = address(output_page);
    if ((control & HV_HYPERCALL_FAST) != 0) {
        input = random_.one_in(2) ? partition() : value();
        output = value();
    } else if (random_.one_in(32) && !needs_care(code)) {
        (random_.one_in(2) ? input : output) = random_.one_in(2)
            ? address(output_page) + random_.below(HV_PAGE_SIZE)
            : (shared_.first << HV_PAGE_SHIFT | random_.below(1u << 20));
    }
    if (tells_) {
        bare_print("# %llx %llx %llx %llx %llx\n", static_cast<unsigned long long>(control),
            word(0), word(8), word(16), word(24));
    }
    const Result result = call_word(control, input, output);
    if (tells_) {
        bare_print("# -> %x after %u\n", result.status, result.reps);
    }
    ++made_;
    granted_ += result.status == HV_STATUS_SUCCESS ? 1 : 0;
    if (result.status == HV_STATUS_INSUFFICIENT_MEMORY) {
        pay();
    }
}

/// A call that lacks pages gets some, now and then.
void Fuzzer::pay() {
    const std::uint64_t id = children_[random_.below(most_children)];
    if (id != 0 && random_.one_in(4) && balance(id).pages_available < 16) {
        (void)deposit(id, 32);
    }
    see_to_pages(12); // what the dearest takes at once is nine
}

/// Of the caller's own pool. They come back to it, and are not given a second time.
void Fuzzer::see_to_pages(unsigned count) {
    if (balance(self).pages_available < count) {
        (void)deposit(self, 2 * count);
    }
}

void Fuzzer::run(std::uint64_t calls) {
    while (made_ < calls) {
        if (random_.one_in(256)) {
            make_child();
        }
        random_call();
    }
}

bool Fuzzer::end_all() {
    bool all = true;
    for (std::uint64_t& id : children_) {
        if (id != 0) {
            end_child(id);
            all = all && id == 0;
        }
    }
    return all;
}

void Fuzzer::end_own() const {
    for (std::uint32_t id = 1; id < most_ports; ++id) {
        (void)call(HVCALL_DELETE_PORT,
            hv_input_delete_port{.port_partition_id = self, .port_id = id, .reserved = 0});
    }
    hv_input_stats_page stats{};
    for (const std::uint32_t type :
        {HV_STATS_OBJECT_HYPERVISOR, HV_STATS_OBJECT_LOGICAL_PROCESSOR}) {
        stats.type = type;
        (void)call(HVCALL_UNMAP_STATS_PAGE, stats);
    }
    stats.identity.partition.partition_id = self;
    for (const std::uint32_t type : {HV_STATS_OBJECT_PARTITION, HV_STATS_OBJECT_VP}) {
        stats.type = type;
        (void)call(HVCALL_UNMAP_STATS_PAGE, stats);
    }
    hv_input_get_partition_property_ex trace{};
    trace.partition_id = self;
    trace.property_code = HV_PARTITION_PROPERTY_EXIT_TRACE_END;
    trace.arg = trace_key_;
    (void)call(HVCALL_GET_PARTITION_PROPERTY_EX, trace);
}

void ignore(bare_frame* /*frame*/) {}

} // namespace

void fuzz(std::uint64_t seed, std::uint64_t calls) {
    constexpr std::uint8_t nmi = 2;
    bare_set_handler(nmi, ignore);
    const std::uint64_t taken = pages_taken();
    const auto before = balance(self);
    Fuzzer fuzzer{seed};
    fuzzer.run(calls);
    bare_print("# seed %llu: %llu calls, %llu granted\n", static_cast<unsigned long long>(seed),
        static_cast<unsigned long long>(fuzzer.made()),
        static_cast<unsigned long long>(fuzzer.granted()));
    check("some of the calls were granted", fuzzer.granted() > fuzzer.made() / 100);
    check("all children are gone", fuzzer.end_all());
    fuzzer.end_own();
    const auto after = balance(self);
    check_equal(
        "the caller's pool has what it had in use", after.pages_in_use, before.pages_in_use);
    check_equal("what was given away comes back", withdraw_all(self), after.pages_available);
    check_equal("to the last page", pages_taken() - taken, 0);
}

} // namespace root
