// SPDX-License-Identifier: Apache-2.0
// A rep call that fails half-way: what is done stands, and is counted; the rest is not, and what
// the rest would have said is not written. A simple call that fails has done nothing.
#include "abi/register.h"
#include "tests/guests/root/root.hpp"

namespace root {

namespace {

constexpr std::uint64_t self = HV_PARTITION_ID_SELF;
constexpr std::uint64_t marker = 0xdeadbeefdeadbeef;
/// A page of the hypervisor's: its image begins at 1 MiB.
constexpr std::uint64_t hypervisors_page = 0x100;

void mark_output() {
    for (unsigned i = 0; i < HV_PAGE_SIZE / sizeof marker; ++i) {
        __builtin_memcpy(output_page + i * sizeof marker, &marker, sizeof marker);
    }
}

void put_name(unsigned index, std::uint32_t name) {
    put(name, sizeof(hv_input_get_vp_registers) + index * sizeof name);
}

void check_registers_of_the_caller() {
    hv_input_get_vp_registers header{};
    header.partition_id = self;
    header.vp_index = HV_VP_INDEX_SELF;
    mark_output();
    put_name(0, HV_REGISTER_VP_INDEX);
    put_name(1, 0xffff0000);
    put_name(2, HV_REGISTER_VP_INDEX);
    Result result = call_rep(HVCALL_GET_VP_REGISTERS, header, 3);
    check_equal("a name that is none", result.status, HV_STATUS_INVALID_PARAMETER);
    check_equal("the register before it is read", result.reps, 1);
    check_equal("and answered", got<std::uint64_t>(), 0);
    check_equal("the others are not", got<std::uint64_t>(sizeof(hv_register_value)), marker);

    mark_output();
    result = call_rep(HVCALL_GET_VP_REGISTERS, header, 3, 2);
    check_equal("a call that goes on behind it", result.status, HV_STATUS_SUCCESS);
    check_equal("has completed all", result.reps, 3);
    check_equal("answers where it went on", got<std::uint64_t>(2 * sizeof(hv_register_value)), 0);
    check_equal("and nowhere else", got<std::uint64_t>(), marker);
}

/// A child with some memory and one processor. \return its id.
std::uint64_t make_child() {
    hv_input_create_partition settings{};
    settings.flags = HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED;
    (void)deposit(self, 2);
    (void)call(HVCALL_CREATE_PARTITION, settings);
    const auto id = got<std::uint64_t>();
    (void)deposit(id, 32);
    (void)call(HVCALL_INITIALIZE_PARTITION, hv_input_partition{.partition_id = id});
    hv_input_create_vp vp{};
    vp.partition_id = id;
    check_equal("a child is made", call(HVCALL_CREATE_VP, vp).status, HV_STATUS_SUCCESS);
    return id;
}

void remove_child(std::uint64_t id) {
    const hv_input_partition which{.partition_id = id};
    check_equal("it ends", call(HVCALL_FINALIZE_PARTITION, which).status, HV_STATUS_SUCCESS);
    (void)withdraw_all(id);
    check_equal("it is deleted", call(HVCALL_DELETE_PARTITION, which).status, HV_STATUS_SUCCESS);
}

std::uint64_t register_of(std::uint64_t id, std::uint32_t name) {
    hv_input_get_vp_registers header{};
    header.partition_id = id;
    put_name(0, name);
    const Result result = call_rep(HVCALL_GET_VP_REGISTERS, header, 1);
    return result.status == HV_STATUS_SUCCESS ? got<std::uint64_t>() : marker;
}

void put_register(unsigned index, std::uint32_t name, std::uint64_t value) {
    hv_register_assoc assoc{};
    assoc.name = name;
    assoc.value.reg64 = value;
    put(assoc, sizeof(hv_input_set_vp_registers) + index * sizeof assoc);
}

void check_setting(std::uint64_t id) {
    hv_input_set_vp_registers header{};
    header.partition_id = id;
    put_register(0, HV_X64_REGISTER_RAX, 0x1234);
    put_register(1, HV_X64_REGISTER_CR0, 1ull << 32);
    put_register(2, HV_X64_REGISTER_RBX, 0x5678);
    const Result result = call_rep(HVCALL_SET_VP_REGISTERS, header, 3);
    check_equal("a value that can't be", result.status, HV_STATUS_INVALID_REGISTER_VALUE);
    check_equal("the register before it is set", result.reps, 1);
    check_equal("it has its value", register_of(id, HV_X64_REGISTER_RAX), 0x1234);
    check_equal("the one behind it has not", register_of(id, HV_X64_REGISTER_RBX), 0);
}

/// Whether a page can be given away: not while something is mapped to it.
bool is_free(std::uint64_t page) {
    put(page, sizeof(hv_input_deposit_memory));
    const hv_input_deposit_memory to{.partition_id = self};
    if (call_rep(HVCALL_DEPOSIT_MEMORY, to, 1).status != HV_STATUS_SUCCESS) {
        return false;
    }
    (void)call_rep(HVCALL_WITHDRAW_MEMORY,
        hv_input_withdraw_memory{.partition_id = self, .proximity_domain_info = {}}, 1);
    return true;
}

void check_mapping(std::uint64_t id) {
    const std::uint64_t first = take_page();
    const std::uint64_t last = take_page();
    hv_input_map_gpa_pages header{};
    header.target_partition_id = id;
    header.map_flags = HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE;
    const auto put_page = [](unsigned index, std::uint64_t page) {
        put(page, sizeof(hv_input_map_gpa_pages) + index * sizeof page);
    };
    put_page(0, first);
    put_page(1, hypervisors_page);
    put_page(2, last);
    const Result result = call_rep(HVCALL_MAP_GPA_PAGES, header, 3);
    check_equal(
        "a page of the hypervisor's is not mapped", result.status, HV_STATUS_OPERATION_DENIED);
    check_equal("the one before it is", result.reps, 1);
    check("and is held", !is_free(first));
    check("the one behind it is not", is_free(last));
    hv_input_unmap_gpa_pages unmap{};
    unmap.target_partition_id = id;
    check_equal(
        "it is unmapped", call_rep(HVCALL_UNMAP_GPA_PAGES, unmap, 1).status, HV_STATUS_SUCCESS);
    check("and is free again", is_free(first));

    header.map_flags |= HV_MAP_GPA_LARGE_PAGE;
    header.target_gpa_base = 1;
    check_equal("a large page has its place", call_rep(HVCALL_MAP_GPA_PAGES, header, 1).status,
        HV_STATUS_INVALID_ALIGNMENT);
    header.target_gpa_base = (1ull << 36) - 1;
    header.map_flags &= ~HV_MAP_GPA_LARGE_PAGE;
    put_page(0, first);
    put_page(1, last);
    const Result end = call_rep(HVCALL_MAP_GPA_PAGES, header, 2);
    check_equal("there is nothing beyond the end", end.status, HV_STATUS_INVALID_PARAMETER);
    check_equal("the last page is mapped", end.reps, 1);
    header.target_gpa_base = 0;
    put_page(0, first | 1ull << 52);
    check_equal("nor behind it, where bits of an address would be lost",
        call_rep(HVCALL_MAP_GPA_PAGES, header, 1).status, HV_STATUS_OPERATION_DENIED);
    header.target_gpa_base = ~std::uint64_t{0};
    check_equal("nor at the last of all numbers", call_rep(HVCALL_MAP_GPA_PAGES, header, 1).status,
        HV_STATUS_INVALID_PARAMETER);
    give_page(last); // `first` stays with the child until it ends
}

void check_deposits(std::uint64_t id) {
    const auto before = balance(id);
    const std::uint64_t page = take_page();
    put(page, sizeof(hv_input_deposit_memory));
    put(hypervisors_page, sizeof(hv_input_deposit_memory) + sizeof page);
    const Result result =
        call_rep(HVCALL_DEPOSIT_MEMORY, hv_input_deposit_memory{.partition_id = id}, 2);
    check_equal("a deposit of the hypervisor's page", result.status, HV_STATUS_OPERATION_DENIED);
    check_equal("takes none of the others", result.reps, 0);
    check_equal(
        "so that nothing is deposited", balance(id).pages_available, before.pages_available);
    check("and all stay the caller's", is_free(page));
    give_page(page);
    const auto available = static_cast<unsigned>(before.pages_available);
    mark_output();
    const Result all = call_rep(HVCALL_WITHDRAW_MEMORY,
        hv_input_withdraw_memory{.partition_id = id, .proximity_domain_info = {}}, available + 2);
    check_equal("more than there is", all.status, HV_STATUS_NO_RESOURCES);
    check_equal("what there is comes back", all.reps, available);
    check_equal("and no more", got<std::uint64_t>(available * sizeof marker), marker);
    for (unsigned i = 0; i < all.reps; ++i) {
        give_page(got<std::uint64_t>(i * sizeof(std::uint64_t)));
    }
}

/// An answer that could not be written would be about something that nobody knows of.
void check_lost_answers() {
    constexpr std::uint64_t nowhere = 1ull << 47;
    const auto before = balance(self);
    hv_input_create_partition settings{};
    put(settings);
    const Result result = call_word(HVCALL_CREATE_PARTITION, address(input_page), nowhere);
    check_equal("an answer that goes nowhere", result.status, HV_STATUS_INVALID_HYPERCALL_INPUT);
    check_equal("leaves nothing behind", balance(self).pages_in_use, before.pages_in_use);
}

} // namespace

void check_reps() {
    check_registers_of_the_caller();
    (void)deposit(self, 4);
    check_lost_answers();
    const std::uint64_t child = make_child();
    check_setting(child);
    check_mapping(child);
    check_deposits(child);
    remove_child(child);
    (void)withdraw_all(self);
}

} // namespace root
