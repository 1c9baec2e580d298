// SPDX-License-Identifier: Apache-2.0
// Where deposited pages go. A child is made with one page more each time that a call says that it
// lacks one, so that each place at which memory can run out is met; a call that says so has kept
// nothing. And after many children both pools have what was put into them.
#include "abi/msr.h"
#include "abi/port.h"
#include "abi/register.h"
#include "abi/system.h"
#include "tests/guests/root/root.hpp"

#include <initializer_list>

namespace root {

namespace {

constexpr std::uint64_t self = HV_PARTITION_ID_SELF;
constexpr std::uint32_t read_write = HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE;
constexpr unsigned most_children = 1000;
constexpr std::uint64_t guest_entry = 0x100;
constexpr std::uint64_t guest_handler = 0x200;

alignas(HV_PAGE_SIZE) std::uint8_t spare_page[HV_PAGE_SIZE];

struct Balances {
    std::uint64_t own;
    std::uint64_t childs;
};

/// Of the calls that make a child, each with what it needs given to it page by page.
class Maker {
public:
    [[nodiscard]] std::uint64_t id() const { return id_; }
    [[nodiscard]] unsigned shortages() const { return shortages_; }

    void make();
    void furnish();
    void take_gib_apart(std::uint64_t first_page);
    void place_overlays_itself();
    /// Ends the child. \return whether what was deposited for it has come back.
    bool end();

private:
    enum class Pool : std::uint8_t { own, childs };

    [[nodiscard]] Balances balances() const {
        return {balance(self).pages_available, id_ != 0 ? balance(id_).pages_available : 0};
    }
    void give(Pool pool) {
        ++(pool == Pool::own ? own_ : childs_);
        (void)deposit(pool == Pool::own ? self : id_, 1);
    }

    /// A call whose memory comes from a pool, until it has enough. Tables on the way to a page
    /// that could not be mapped may stay: they are of use the next time.
    template <class Attempt>
    void call_until_paid(
        const char* what, Pool pool, Attempt&& attempt, bool keeps_tables = false) {
        constexpr unsigned most = 700;
        unsigned done = 0;
        for (unsigned i = 0; i < most; ++i) {
            const Balances before = balances();
            const Result result = attempt(done);
            if (result.status != HV_STATUS_INSUFFICIENT_MEMORY) {
                check_equal(what, result.status, HV_STATUS_SUCCESS);
                return;
            }
            ++shortages_;
            const Balances after = balances();
            const bool went_on = result.reps > done;
            const bool kept_something = after.own != before.own ||
                (after.childs != before.childs && !went_on && !keeps_tables);
            if (kept_something && !has_told_) {
                bare_print(
                    "# %s kept pages that it had not enough of: %llu of %llu, %llu of %llu\n", what,
                    static_cast<unsigned long long>(after.own),
                    static_cast<unsigned long long>(before.own),
                    static_cast<unsigned long long>(after.childs),
                    static_cast<unsigned long long>(before.childs));
                has_told_ = true;
                check("what lacks a page keeps none", false);
            }
            done = result.reps;
            give(pool);
        }
        check(what, false);
    }
    template <class In>
    void pay(const char* what, Pool pool, std::uint16_t code, const In& in) {
        call_until_paid(what, pool, [&](unsigned /*done*/) { return call(code, in); });
    }
    void map(const char* what, std::uint64_t gpa, std::uint64_t page, std::uint32_t flags,
        unsigned count);
    void set_register(const char* what, std::uint32_t name, std::uint64_t value);
    void transfer_state(const char* what, std::uint16_t code, std::uint32_t type, std::uint32_t vp);
    void connect();
    /// What is free in the child's pool is the caller's again.
    void empty_pool() { childs_ -= withdraw_all(id_); }
    bool write_msr(std::uint32_t msr, std::uint64_t value);

    std::uint64_t id_ = 0;
    unsigned own_ = 0;    ///< pages deposited for the caller
    unsigned childs_ = 0; ///< and for the child
    unsigned shortages_ = 0;
    bool has_told_ = false;
};

void Maker::make() {
    hv_input_create_partition settings{};
    settings.flags = HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED |
        HV_PARTITION_CREATION_FLAG_GPA_SUPER_PAGES_ENABLED;
    pay("a partition is created", Pool::own, HVCALL_CREATE_PARTITION, settings);
    id_ = got<std::uint64_t>();
    pay("it is initialized", Pool::childs, HVCALL_INITIALIZE_PARTITION,
        hv_input_partition{.partition_id = id_});
    for (std::uint32_t i = 0; i < 2; ++i) {
        hv_input_create_vp vp{};
        vp.partition_id = id_;
        vp.vp_index = i;
        pay("a processor is created", Pool::childs, HVCALL_CREATE_VP, vp);
    }
}

void Maker::map(
    const char* what, std::uint64_t gpa, std::uint64_t page, std::uint32_t flags, unsigned count) {
    hv_input_map_gpa_pages header{};
    header.target_partition_id = id_;
    header.target_gpa_base = gpa;
    header.map_flags = flags;
    for (unsigned i = 0; i < count; ++i) {
        put(page, sizeof header + i * sizeof page);
    }
    call_until_paid(
        what, Pool::childs,
        [&](unsigned done) { return call_rep(HVCALL_MAP_GPA_PAGES, header, count, done); }, true);
}

void Maker::set_register(const char* what, std::uint32_t name, std::uint64_t value) {
    hv_input_set_vp_registers header{};
    header.partition_id = id_;
    hv_register_assoc assoc{};
    assoc.name = name;
    assoc.value.reg64 = value;
    put(assoc, sizeof header);
    call_until_paid(
        what, Pool::childs,
        [&](unsigned /*done*/) { return call_rep(HVCALL_SET_VP_REGISTERS, header, 1); }, true);
}

/// Of a page that the guest has not placed yet.
void Maker::transfer_state(
    const char* what, std::uint16_t code, std::uint32_t type, std::uint32_t vp) {
    hv_input_vp_state header{};
    header.partition_id = id_;
    header.vp_index = vp;
    header.type = type | HV_VP_STATE_TYPE_PFN;
    put(address(spare_page) >> HV_PAGE_SHIFT, sizeof header);
    call_until_paid(what, Pool::childs, [&](unsigned /*done*/) {
        put(header);
        return call_word(code | 1ull << HV_HYPERCALL_VARIABLE_HEADER_SHIFT, address(input_page),
            address(output_page));
    });
}

/// A GiB whose large pages follow each other is mapped by one entry, and the table of them is free
/// again; a hole in it needs that table, and one of small pages.
void Maker::take_gib_apart(std::uint64_t first_page) {
    constexpr std::uint64_t gpa = 8ull << 30 >> HV_PAGE_SHIFT;
    constexpr unsigned large_pages = 512;
    constexpr unsigned each_time = large_pages / 2; // all don't fit a page of input
    constexpr std::uint64_t small_pages = 512;
    hv_input_map_gpa_pages header{};
    header.target_partition_id = id_;
    header.map_flags = read_write | HV_MAP_GPA_LARGE_PAGE;
    std::uint64_t before = 0;
    for (unsigned first = 0; first < large_pages; first += each_time) {
        before = balance(id_).pages_available;
        header.target_gpa_base = gpa + first * small_pages;
        call_until_paid(
            first == 0 ? "half a GiB is mapped" : "the other half is", Pool::childs,
            [&](unsigned done) {
                for (unsigned i = 0; i < each_time; ++i) {
                    put(first_page + (first + i) * small_pages,
                        sizeof header + i * sizeof first_page);
                }
                return call_rep(HVCALL_MAP_GPA_PAGES, header, each_time, done);
            },
            true);
    }
    check_equal("a GiB is one entry", balance(id_).pages_available, before + 1);
    empty_pool();
    const unsigned shortages = shortages_;
    hv_input_unmap_gpa_pages unmap{};
    unmap.target_partition_id = id_;
    unmap.target_gpa_base = gpa + 0x1234;
    call_until_paid(
        "a hole is made in it", Pool::childs,
        [&](unsigned done) { return call_rep(HVCALL_UNMAP_GPA_PAGES, unmap, 1, done); }, true);
    check_equal("which costs two tables", shortages_ - shortages, 2);
}

/// Has the guest write an MSR. \return whether it could; else the write was a fault.
bool Maker::write_msr(std::uint32_t msr, std::uint64_t value) {
    constexpr unsigned most_turns = 1000;
    hv_input_set_vp_registers header{};
    header.partition_id = id_;
    hv_register_assoc registers[5]{};
    registers[0].name = HV_X64_REGISTER_RIP;
    registers[0].value.reg64 = guest_entry;
    registers[1].name = HV_X64_REGISTER_RCX;
    registers[1].value.reg64 = msr;
    registers[2].name = HV_X64_REGISTER_RAX;
    registers[2].value.reg64 = value & 0xffffffff;
    registers[3].name = HV_X64_REGISTER_RDX;
    registers[3].value.reg64 = value >> 32;
    registers[4].name = HV_REGISTER_EXPLICIT_SUSPEND;
    put(registers, sizeof header);
    bool told = call_rep(HVCALL_SET_VP_REGISTERS, header, 5).status == HV_STATUS_SUCCESS;
    hv_input_dispatch_vp dispatch{};
    dispatch.partition_id = id_;
    dispatch.flags = HV_DISPATCH_VP_FLAG_CLEAR_INTERCEPT_SUSPEND;
    hv_output_dispatch_vp end{};
    for (unsigned i = 0; i < most_turns && end.dispatch_event != HV_VP_DISPATCH_EVENT_INTERCEPT;
         ++i) {
        told = call(HVCALL_DISPATCH_VP, dispatch).status == HV_STATUS_SUCCESS && told;
        end = got<hv_output_dispatch_vp>();
        dispatch.flags = 0;
    }
    hv_input_get_vp_registers in{};
    in.partition_id = id_;
    put<std::uint32_t>(HV_X64_REGISTER_RIP, sizeof in);
    told = call_rep(HVCALL_GET_VP_REGISTERS, in, 1).status == HV_STATUS_SUCCESS && told;
    const auto rip = got<std::uint64_t>();
    check("the guest has stopped where it says how it fares",
        told && (rip == guest_entry + 2 || rip == guest_handler));
    return rip != guest_handler;
}

/// A page of its own that a guest asks for comes out of its pool. If that is empty, the write of
/// the register is a fault, and the register has not changed; with a page in the pool it succeeds.
void Maker::place_overlays_itself() {
    hv_input_map_vp_state_page state{};
    state.partition_id = id_;
    state.type = HV_VP_STATE_PAGE_INTERCEPT_MESSAGE;
    pay("the guest's intercepts have a page", Pool::childs, HVCALL_MAP_VP_STATE_PAGE, state);
    const std::uint64_t page = take_page();
    auto* const code = reinterpret_cast<std::uint8_t*>(page << HV_PAGE_SHIFT);
    __builtin_memset(code, 0, HV_PAGE_SIZE);
    // wrmsr; out %al, $0x99; and the same port in the handler of #GP, behind its entry in the
    // table of real mode.
    static constexpr std::uint8_t wrmsr[] = {0x0f, 0x30, 0xe6, 0x99};
    static constexpr std::uint8_t handler[] = {0xe6, 0x99};
    __builtin_memcpy(code + guest_entry, wrmsr, sizeof wrmsr);
    __builtin_memcpy(code + guest_handler, handler, sizeof handler);
    code[13 * 4] = guest_handler & 0xff;
    code[13 * 4 + 1] = guest_handler >> 8;
    map("the guest has a page", 0, page, read_write | HV_MAP_GPA_EXECUTABLE, 1);
    for (const std::uint64_t gpa : {5ull << 30, 6ull << 30}) {
        map("there is memory near its pages", (gpa >> HV_PAGE_SHIFT) + 1, page, read_write, 1);
    }
    hv_input_set_vp_registers header{};
    header.partition_id = id_;
    hv_register_assoc cs{};
    cs.name = HV_X64_REGISTER_CS;
    cs.value.segment.limit = 0xffff;
    cs.value.segment.attributes = 0x9b;
    hv_register_assoc stack{};
    stack.name = HV_X64_REGISTER_RSP;
    stack.value.reg64 = 0x800;
    hv_register_assoc identity{};
    identity.name = HV_REGISTER_GUEST_OS_ID;
    identity.value.reg64 = 1;
    put(cs, sizeof header);
    put(stack, sizeof header + sizeof cs);
    put(identity, sizeof header + 2 * sizeof cs);
    check_equal("the guest is ready", call_rep(HVCALL_SET_VP_REGISTERS, header, 3).status,
        HV_STATUS_SUCCESS);

    static constexpr struct {
        const char* name;
        std::uint32_t msr;
        std::uint64_t gpa;
    } overlays[] = {{"SIMP", HV_X64_MSR_SIMP, 5ull << 30}, {"SIEFP", HV_X64_MSR_SIEFP, 6ull << 30},
        {"VP_ASSIST_PAGE", HV_X64_MSR_VP_ASSIST_PAGE, (5ull << 30) + 0x2000},
        {"HYPERCALL", HV_X64_MSR_HYPERCALL, (5ull << 30) + 0x3000},
        {"REFERENCE_TSC", HV_X64_MSR_REFERENCE_TSC, (5ull << 30) + 0x4000}};
    for (const auto& one : overlays) {
        empty_pool();
        const auto before = balance(id_);
        check(check_words(one.name, "can't be placed by a guest whose pool is empty"),
            !write_msr(one.msr, one.gpa | 1));
        check_equal(check_words(one.name, "has taken nothing then"), balance(id_).pages_in_use,
            before.pages_in_use);
        give(Pool::childs);
        check(check_words(one.name, "is placed when there is a page"),
            write_msr(one.msr, one.gpa | 1));
        check_equal(check_words(one.name, "has taken it"), balance(id_).pages_in_use,
            before.pages_in_use + 1);
    }
    give_page(page);
}

/// A port of the caller's, and the doorbell of the child's that rings it.
void Maker::connect() {
    hv_input_create_port port{};
    port.port_partition_id = self;
    port.port_id = 7;
    port.connection_partition_id = id_;
    port.port_info.port_type = HV_PORT_TYPE_DOORBELL;
    pay("a port is created", Pool::own, HVCALL_CREATE_PORT, port);
    hv_input_connect_port doorbell{};
    doorbell.connection_partition_id = id_;
    doorbell.connection_id = 9;
    doorbell.port_partition_id = self;
    doorbell.port_id = port.port_id;
    doorbell.connection_info.port_type = HV_PORT_TYPE_DOORBELL;
    doorbell.connection_info.doorbell.gpa = 0x40000000;
    pay("it is connected", Pool::childs, HVCALL_CONNECT_PORT, doorbell);
    check_equal("it is deleted",
        call(HVCALL_DELETE_PORT,
            hv_input_delete_port{.port_partition_id = self, .port_id = port.port_id, .reserved = 0})
            .status,
        HV_STATUS_SUCCESS);
}

/// All that a child can have that costs memory.
void Maker::furnish() {
    const Pages memory = free_memory();
    const std::uint64_t page = memory.first + memory.count - 1;
    const std::uint64_t large = (memory.first + memory.count - 1024) & ~std::uint64_t{511};
    for (const std::uint16_t type :
        {HV_VP_STATE_PAGE_REGISTERS, HV_VP_STATE_PAGE_INTERCEPT_MESSAGE}) {
        hv_input_map_vp_state_page state{};
        state.partition_id = id_;
        state.type = type;
        pay("a state page is mapped", Pool::childs, HVCALL_MAP_VP_STATE_PAGE, state);
    }
    hv_input_stats_page stats{};
    stats.type = HV_STATS_OBJECT_VP;
    stats.identity.vp.partition_id = id_;
    pay("a page of statistics is mapped", Pool::own, HVCALL_MAP_STATS_PAGE, stats);
    check_equal("and unmapped", call(HVCALL_UNMAP_STATS_PAGE, stats).status, HV_STATUS_SUCCESS);
    pay("one that goes with its processor is mapped", Pool::own, HVCALL_MAP_STATS_PAGE, stats);
    stats.type = HV_STATS_OBJECT_PARTITION;
    pay("one that goes with the child is", Pool::own, HVCALL_MAP_STATS_PAGE, stats);

    map("pages are mapped", 0x3fffe, page, read_write, 4); // across the end of a GiB
    map("a large page is mapped", 0x800, large, read_write | HV_MAP_GPA_LARGE_PAGE, 1);
    map("pages without access are", 0x1'0000'0000, 0, HV_MAP_GPA_NO_ACCESS, 8);
    hv_input_unmap_gpa_pages unmap{};
    unmap.target_partition_id = id_;
    unmap.target_gpa_base = 0x805;
    call_until_paid("a hole is made", Pool::childs,
        [&](unsigned done) { return call_rep(HVCALL_UNMAP_GPA_PAGES, unmap, 2, done); });
    map("another large page is", 0xa00, large, read_write | HV_MAP_GPA_LARGE_PAGE, 1);
    hv_input_set_partition_property tracking{};
    tracking.partition_id = id_;
    tracking.property_code = HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING;
    tracking.property_value = 1;
    // One large page after the other gets its table; the next call goes on behind them.
    call_until_paid(
        "each page is tracked", Pool::childs,
        [&](unsigned /*done*/) { return call(HVCALL_SET_PARTITION_PROPERTY, tracking); }, true);
    map("a large page is while they are", 0xc00, large, read_write | HV_MAP_GPA_LARGE_PAGE, 1);

    transfer_state(
        "messages are read before they are placed", HVCALL_GET_VP_STATE, HV_VP_STATE_SIM_PAGE, 0);
    transfer_state("event flags are", HVCALL_GET_VP_STATE, HV_VP_STATE_SIEF_PAGE, 0);
    transfer_state("messages are written before they are placed", HVCALL_SET_VP_STATE,
        HV_VP_STATE_SIM_PAGE, 1);
    transfer_state("event flags are written before", HVCALL_SET_VP_STATE, HV_VP_STATE_SIEF_PAGE, 1);
    set_register("a page of messages is placed", HV_REGISTER_SIMP, 0x5'0000'0001);
    set_register("one of event flags is", HV_REGISTER_SIEFP, 0x6'0000'0001);
    set_register("a VP assist page is", HV_REGISTER_VP_ASSIST_PAGE, 0x7'0000'0001);
    set_register("a hypercall page is", HV_X64_REGISTER_HYPERCALL, 0x8'0000'0001);
    set_register("a page of time is", HV_REGISTER_REFERENCE_TSC, 0x9'0000'0001);

    hv_input_register_intercept_result cpuid{};
    cpuid.partition_id = id_;
    cpuid.intercept_type = HV_INTERCEPT_TYPE_X64_CPUID;
    pay("an answer of CPUID is registered", Pool::childs, HVCALL_REGISTER_INTERCEPT_RESULT, cpuid);
    cpuid.vp_index = HV_ANY_VP;
    pay("one for all is", Pool::childs, HVCALL_REGISTER_INTERCEPT_RESULT, cpuid);
    hv_input_register_intercept_result msr{};
    msr.partition_id = id_;
    msr.vp_index = HV_ANY_VP;
    msr.intercept_type = HV_INTERCEPT_TYPE_X64_MSR;
    msr.msr.msr_index = 0x123;
    msr.msr.access_type = HV_INTERCEPT_ACCESS_MASK_READ;
    pay("what an MSR does is", Pool::childs, HVCALL_REGISTER_INTERCEPT_RESULT, msr);
    hv_input_install_intercept intercept{};
    intercept.partition_id = id_;
    intercept.intercept_type = HV_INTERCEPT_TYPE_X64_MSR_INDEX;
    intercept.access_type = HV_INTERCEPT_ACCESS_MASK_READ;
    intercept.intercept_parameter.msr_index = 0x10;
    pay("an intercept of an MSR is installed", Pool::childs, HVCALL_INSTALL_INTERCEPT, intercept);
    intercept.intercept_type = HV_INTERCEPT_TYPE_X64_CPUID;
    intercept.access_type = HV_INTERCEPT_ACCESS_MASK_EXECUTE;
    pay("one of CPUID is", Pool::childs, HVCALL_INSTALL_INTERCEPT, intercept);
    connect();
}

bool Maker::end() {
    const hv_input_partition which{.partition_id = id_};
    if (call(HVCALL_FINALIZE_PARTITION, which).status != HV_STATUS_SUCCESS) {
        return false;
    }
    const bool all_free = balance(id_).pages_in_use == 0;
    const bool all_back = withdraw_all(id_) == childs_;
    return all_free && all_back && call(HVCALL_DELETE_PARTITION, which).status == HV_STATUS_SUCCESS;
}

void check_shortages() {
    const std::uint64_t taken = pages_taken();
    Maker maker;
    maker.make();
    constexpr std::uint64_t gib = 1ull << 30 >> HV_PAGE_SHIFT;
    const Pages memory = free_memory();
    const std::uint64_t whole = (memory.first + gib - 1) & ~(gib - 1);
    // The first pages are deposits, the last ones are what all else is mapped to.
    if (whole > memory.first && whole + gib + 2048 < memory.first + memory.count) {
        maker.take_gib_apart(whole);
    }
    maker.furnish();
    check_at_least("memory ran out at many places", maker.shortages(), 34);
    check("all that was deposited for the child comes back", maker.end());
    (void)withdraw_all(self);
    check_equal("as does all that was for its parent", pages_taken() - taken, 0);
}

/// A child as VMMs make them, with enough for all. \return whether it was made, and is gone.
bool make_and_end(std::uint64_t page) {
    constexpr unsigned enough = 48;
    hv_input_create_partition settings{};
    settings.flags = HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED;
    if (call(HVCALL_CREATE_PARTITION, settings).status != HV_STATUS_SUCCESS) {
        return false;
    }
    const auto id = got<std::uint64_t>();
    const hv_input_partition which{.partition_id = id};
    bool all = deposit(id, enough) == HV_STATUS_SUCCESS &&
        call(HVCALL_INITIALIZE_PARTITION, which).status == HV_STATUS_SUCCESS;
    for (std::uint32_t i = 0; i < 2; ++i) {
        hv_input_create_vp vp{};
        vp.partition_id = id;
        vp.vp_index = i;
        all = all && call(HVCALL_CREATE_VP, vp).status == HV_STATUS_SUCCESS;
        hv_input_map_vp_state_page state{};
        state.partition_id = id;
        state.vp_index = i;
        state.type = HV_VP_STATE_PAGE_INTERCEPT_MESSAGE;
        all = all && call(HVCALL_MAP_VP_STATE_PAGE, state).status == HV_STATUS_SUCCESS;
    }
    hv_input_map_gpa_pages map{};
    map.target_partition_id = id;
    map.map_flags = read_write;
    put(page, sizeof map);
    all = all && call_rep(HVCALL_MAP_GPA_PAGES, map, 1).status == HV_STATUS_SUCCESS;
    all = call(HVCALL_FINALIZE_PARTITION, which).status == HV_STATUS_SUCCESS && all;
    all = withdraw_all(id) == enough && all;
    return call(HVCALL_DELETE_PARTITION, which).status == HV_STATUS_SUCCESS && all;
}

void check_many() {
    constexpr unsigned enough = 8;
    const std::uint64_t page = take_page();
    const std::uint64_t taken = pages_taken();
    (void)deposit(self, enough);
    unsigned made = 0;
    while (made < most_children && make_and_end(page)) {
        ++made;
    }
    check_equal("a thousand children come and go", made, most_children);
    check_equal(
        "what was deposited for their parent is free", balance(self).pages_available, enough);
    check_equal("and comes back", withdraw_all(self), enough);
    check_equal("as has all that was deposited for them", pages_taken(), taken);
    give_page(page);
}

} // namespace

void check_overlays() {
    const std::uint64_t taken = pages_taken();
    Maker maker;
    maker.make();
    maker.place_overlays_itself();
    check("all that was deposited for the guest comes back", maker.end());
    (void)withdraw_all(self);
    check_equal("as does all that was for its parent", pages_taken() - taken, 0);
}

void check_pools() {
    check_shortages();
    check_many();
}

} // namespace root
