// SPDX-License-Identifier: Apache-2.0
// What programs in the place of the root's kernel stand on: hypercalls, and pages to give away.
#pragma once

#include "abi/hypercall.h"
#include "abi/memory.h"
#include "abi/partition.h"
#include "abi/status.h"

#include <cstddef>
#include <cstdint>

extern "C" {
#include "hv/c/croft_hv.h"
#include "tests/guests/bare/bare.h"
#include "tests/guests/bare/tap.h"
}

namespace root {

/// The boot parameters that the kernel was started with (the Linux kernel's "zero page").
extern "C" std::uint32_t bare_boot_parameters;

/// The number behind `name=` in the command line, or another one.
std::uint64_t option(const char* name, std::uint64_t otherwise);
[[nodiscard]] bool has_option(const char* name);

/// Finds the hypervisor and sets its page up; ends the program if there is none.
void set_up();

/// The result of a hypercall.
struct Result {
    std::uint16_t status;
    unsigned reps;
};

/// Any call, by its control word.
Result call_word(std::uint64_t control, std::uint64_t input, std::uint64_t output);

/// One page each; at the same place always.
extern std::uint8_t* const input_page;
extern std::uint8_t* const output_page;

inline std::uint64_t address(const void* at) {
    return reinterpret_cast<std::uint64_t>(at);
}
template <class T>
void put(const T& value, std::size_t at = 0) {
    const auto* const from = reinterpret_cast<const std::uint8_t*>(&value);
    for (std::size_t i = 0; i < sizeof value; ++i) {
        input_page[at + i] = from[i];
    }
}
template <class T>
T got(std::size_t at = 0) {
    T value;
    auto* const to = reinterpret_cast<std::uint8_t*>(&value);
    for (std::size_t i = 0; i < sizeof value; ++i) {
        to[i] = output_page[at + i];
    }
    return value;
}

/// A simple call.
template <class In>
Result call(std::uint16_t code, const In& in) {
    put(in);
    return call_word(code, address(input_page), address(output_page));
}
/// A rep call whose elements have been put behind `in`, from one of them on.
template <class In>
Result call_rep(std::uint16_t code, const In& in, unsigned count, unsigned start = 0) {
    put(in);
    return call_word(code | std::uint64_t{count} << HV_HYPERCALL_REP_COUNT_SHIFT |
            std::uint64_t{start} << HV_HYPERCALL_REP_START_SHIFT,
        address(input_page), address(output_page));
}

/// Memory of the root's that nothing else is in: page numbers, from the boot parameters.
struct Pages {
    std::uint64_t first;
    std::uint64_t count;
};
Pages free_memory();
/// Where the last memory of the root's ends.
std::uint64_t end_of_memory();

/// Pages of it by the piece.
std::uint64_t take_page();
void give_page(std::uint64_t page);
/// How many are taken.
std::uint64_t pages_taken();

// What every parent does.

std::uint16_t deposit(std::uint64_t partition, unsigned count);
/// All that are free. \return how many there were.
unsigned withdraw_all(std::uint64_t partition);
hv_output_get_memory_balance balance(std::uint64_t partition);

// The programs.

/// Every call of the table with everything that can be wrong with its form; see malformed.cpp.
void check_malformed_calls();
/// What a call has done before it fails stands; see reps.cpp.
void check_reps();
/// Calls that can't be carried out; see refusals.cpp.
void check_refusals();
/// Where deposited pages go; see pools.cpp.
void check_pools();
/// Guests whose parent has deposited too little, where the root schedules; see pools.cpp.
void check_overlays();
/// Memory behind the first 256 GiB; see far_memory.cpp.
void check_far_memory();
/// Sleep without a call; see sleep.cpp. \param control the PM1 control register's port
void check_sleep(std::uint16_t control);
/// Calls at random; see fuzz.cpp.
void fuzz(std::uint64_t seed, std::uint64_t calls);

} // namespace root
