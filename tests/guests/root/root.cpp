// SPDX-License-Identifier: Apache-2.0
#include "tests/guests/root/root.hpp"

#include "abi/msr.h"

// Compilers call these.
extern "C" {
[[gnu::optimize("no-tree-loop-distribute-patterns")]] void* memcpy(
    void* to, const void* from, std::size_t size);
[[gnu::optimize("no-tree-loop-distribute-patterns")]] void* memset(
    void* at, int value, std::size_t size);

void* memcpy(void* to, const void* from, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
        static_cast<volatile std::uint8_t*>(to)[i] = static_cast<const std::uint8_t*>(from)[i];
    }
    return to;
}
void* memset(void* at, int value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
        static_cast<volatile std::uint8_t*>(at)[i] = static_cast<std::uint8_t>(value);
    }
    return at;
}
}

namespace root {

namespace {

constexpr std::size_t page_bytes = HV_PAGE_SIZE;

alignas(page_bytes) std::uint8_t hypercall_page[page_bytes];
alignas(page_bytes) std::uint8_t the_input[page_bytes];
alignas(page_bytes) std::uint8_t the_output[page_bytes];
croft_hv hv;

constexpr std::size_t most_pages = 8192;
std::uint64_t given_back[most_pages];
std::uint64_t given_back_count = 0;
std::uint64_t next_page = 0;
std::uint64_t taken = 0;

template <class T>
T parameter(std::size_t offset) {
    T value;
    memcpy(&value, reinterpret_cast<const void*>(bare_boot_parameters + offset), sizeof value);
    return value;
}

/// Of the memory map that the program was given.
template <class Look>
void for_each_usable_range(Look&& look) {
    constexpr std::size_t entry_count = 0x1e8;
    constexpr std::size_t table = 0x2d0;
    constexpr std::size_t entry_size = 20;
    constexpr std::uint32_t usable = 1;
    for (unsigned i = 0; i < parameter<std::uint8_t>(entry_count); ++i) {
        const std::size_t at = table + i * entry_size;
        if (parameter<std::uint32_t>(at + 16) == usable) {
            const auto from = parameter<std::uint64_t>(at);
            look(from, from + parameter<std::uint64_t>(at + 8));
        }
    }
}

/// What stands behind a word of the command line, or null.
const char* find_option(const char* name) {
    constexpr std::size_t command_line = 0x228;
    const auto* text = reinterpret_cast<const char*>(
        static_cast<std::uint64_t>(parameter<std::uint32_t>(command_line)));
    bool at_begin = true;
    for (; *text != 0; ++text) {
        if (at_begin) {
            const char* at = text;
            const char* wanted = name;
            while (*wanted != 0 && *at == *wanted) {
                ++at;
                ++wanted;
            }
            if (*wanted == 0 && (*at == 0 || *at == ' ' || *at == '=')) {
                return at;
            }
        }
        at_begin = *text == ' ';
    }
    return nullptr;
}

[[noreturn]] void give_up(const char* why) {
    bare_print("Bail out! %s\n", why);
    for (;;) {
        asm volatile("cli; hlt");
    }
}

} // namespace

std::uint8_t* const input_page = the_input;
std::uint8_t* const output_page = the_output;

bool has_option(const char* name) {
    return find_option(name) != nullptr;
}

std::uint64_t option(const char* name, std::uint64_t otherwise) {
    const char* at = find_option(name);
    if (at == nullptr || *at != '=') {
        return otherwise;
    }
    std::uint64_t value = 0;
    for (++at; *at >= '0' && *at <= '9'; ++at) {
        value = value * 10 + static_cast<std::uint64_t>(*at - '0');
    }
    return value;
}

void set_up() {
    const std::uint64_t identity = croft_hv_open_source_identity(0x7f, 0, 1, 0);
    bare_write_msr(HV_X64_MSR_GUEST_OS_ID, identity);
    // A root's page has its place, which the register tells; a child says where it is to be.
    const std::uint64_t given = bare_read_msr(HV_X64_MSR_HYPERCALL) & HV_MSR_PAGE_ADDRESS_MASK;
    const std::uint64_t gpa = given != 0 ? given : address(hypercall_page);
    const auto error = croft_hv_set_up(&hv, reinterpret_cast<const void*>(gpa), gpa, identity);
    if (error != CROFT_HV_OK) {
        give_up(croft_hv_error_text(error));
    }
}

Result call_word(std::uint64_t control, std::uint64_t input, std::uint64_t output) {
    const std::uint64_t result = croft_hv_call_word(&hv, control, input, output);
    return {croft_hv_status(result), croft_hv_reps_completed(result)};
}

Pages free_memory() {
    constexpr std::uint64_t begin = 272u << 20; // the program is below
    constexpr std::uint64_t end_of_map = 3ull << 30;
    Pages best{0, 0};
    for_each_usable_range([&best](std::uint64_t from, std::uint64_t to) {
        from = from < begin ? begin : from;
        to = to > end_of_map ? end_of_map : to;
        const std::uint64_t first = (from + HV_PAGE_SIZE - 1) >> HV_PAGE_SHIFT;
        if (to > from && (to >> HV_PAGE_SHIFT) > first + best.count) {
            best = {first, (to >> HV_PAGE_SHIFT) - first};
        }
    });
    return best;
}

std::uint64_t end_of_memory() {
    std::uint64_t end = 0;
    for_each_usable_range(
        [&end](std::uint64_t /*from*/, std::uint64_t to) { end = to > end ? to : end; });
    return end;
}

std::uint64_t take_page() {
    ++taken;
    if (given_back_count > 0) {
        return given_back[--given_back_count];
    }
    const Pages all = free_memory();
    if (next_page == all.count) {
        give_up("the machine has too little memory");
    }
    return all.first + next_page++;
}

void give_page(std::uint64_t page) {
    if (given_back_count == most_pages) {
        give_up("more pages are given back than were expected");
    }
    --taken;
    given_back[given_back_count++] = page;
}

std::uint64_t pages_taken() {
    return taken;
}

std::uint16_t deposit(std::uint64_t partition, unsigned count) {
    constexpr unsigned most = 256;
    std::uint64_t pages[most];
    while (count > 0) {
        const unsigned some = count < most ? count : most;
        for (unsigned i = 0; i < some; ++i) {
            pages[i] = take_page();
            put(pages[i], sizeof(hv_input_deposit_memory) + i * sizeof pages[i]);
        }
        const Result result = call_rep(
            HVCALL_DEPOSIT_MEMORY, hv_input_deposit_memory{.partition_id = partition}, some);
        if (result.status != HV_STATUS_SUCCESS) {
            for (unsigned i = 0; i < some; ++i) {
                give_page(pages[i]);
            }
            return result.status;
        }
        count -= some;
    }
    return HV_STATUS_SUCCESS;
}

unsigned withdraw_all(std::uint64_t partition) {
    constexpr unsigned most = 256;
    unsigned sum = 0;
    for (;;) {
        const Result result = call_rep(HVCALL_WITHDRAW_MEMORY,
            hv_input_withdraw_memory{.partition_id = partition, .proximity_domain_info = {}}, most);
        for (unsigned i = 0; i < result.reps; ++i) {
            give_page(got<std::uint64_t>(i * sizeof(std::uint64_t)));
        }
        sum += result.reps;
        if (result.reps < most) {
            return sum;
        }
    }
}

hv_output_get_memory_balance balance(std::uint64_t partition) {
    const Result result = call(HVCALL_GET_MEMORY_BALANCE,
        hv_input_get_memory_balance{.partition_id = partition, .proximity_domain_info = {}});
    return result.status == HV_STATUS_SUCCESS ? got<hv_output_get_memory_balance>()
                                              : hv_output_get_memory_balance{};
}

} // namespace root
