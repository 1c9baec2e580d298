// SPDX-License-Identifier: Apache-2.0
// Memory whose addresses have more than 38 bits: the root has it where it is, and the hypervisor
// reaches what it is given of it.
#include "tests/guests/root/root.hpp"

extern "C" std::uint64_t bare_page_tables[512];

namespace root {

namespace {

constexpr std::uint64_t gibibyte = 1ull << 30;
constexpr std::uint64_t far = 256 * gibibyte;

/// The word at an address, whose GiB is mapped where it is.
volatile std::uint64_t& word_at(std::uint64_t address) {
    constexpr std::uint64_t large_entry = 0x83;
    auto* const pointers =
        reinterpret_cast<std::uint64_t*>(bare_page_tables[0] & ~std::uint64_t{HV_PAGE_SIZE - 1});
    std::uint64_t& entry = pointers[address / gibibyte];
    if (entry == 0) {
        entry = address / gibibyte * gibibyte | large_entry;
    }
    return *reinterpret_cast<volatile std::uint64_t*>(address);
}

/// Each word keeps what only it was given: no two are the same memory.
void check_words() {
    const Pages near = free_memory();
    const std::uint64_t place = (near.first + near.count - 1) << HV_PAGE_SHIFT;
    const std::uint64_t words[] = {place, 4 * gibibyte + place, far / 2 + place, far - 8, far,
        far + place, end_of_memory() - 8};
    for (const std::uint64_t at : words) {
        word_at(at) = ~at;
    }
    unsigned kept = 0;
    for (const std::uint64_t at : words) {
        kept += word_at(at) == ~at ? 1u : 0u;
    }
    check_equal("each word holds what was written there", kept, sizeof words / sizeof words[0]);
}

void check_deposit() {
    const std::uint64_t page = (end_of_memory() >> HV_PAGE_SHIFT) - 1;
    put(page, sizeof(hv_input_deposit_memory));
    check_equal("the last page is deposited",
        call_rep(
            HVCALL_DEPOSIT_MEMORY, hv_input_deposit_memory{.partition_id = HV_PARTITION_ID_SELF}, 1)
            .status,
        HV_STATUS_SUCCESS);
    check_equal("and withdrawn",
        call_rep(HVCALL_WITHDRAW_MEMORY,
            hv_input_withdraw_memory{
                .partition_id = HV_PARTITION_ID_SELF, .proximity_domain_info = {}},
            1)
            .status,
        HV_STATUS_SUCCESS);
    check_equal("it is the same", got<std::uint64_t>(), page);
    check_equal("and was filled with zeros", word_at(end_of_memory() - 8), 0);
}

} // namespace

void check_far_memory() {
    check("there is memory behind 256 GiB", end_of_memory() > far + gibibyte);
    check_words();
    check_deposit();
}

} // namespace root
