// SPDX-License-Identifier: Apache-2.0
// Sleep states asked for as a Linux does that knows of no hypervisor: by writing PM1 control.
#include "tests/guests/root/root.hpp"

#include "abi/system.h"

namespace root {

namespace {

constexpr std::uint16_t type_of_off = 0;
constexpr std::uint16_t another_type = 1;
constexpr unsigned type_shift = 10;
constexpr std::uint16_t enable = 1u << 13;
constexpr std::uint64_t ones = ~std::uint64_t{0};

/// All of RAX, which was full of ones, after an access.
std::uint64_t rax_after_in8(std::uint16_t port) {
    std::uint64_t rax = ones;
    asm volatile("inb %%dx, %%al" : "+a"(rax) : "d"(port) : "memory");
    return rax;
}
std::uint64_t rax_after_in16(std::uint16_t port) {
    std::uint64_t rax = ones;
    asm volatile("inw %%dx, %%ax" : "+a"(rax) : "d"(port) : "memory");
    return rax;
}
void out16(std::uint16_t port, std::uint16_t value) {
    asm volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

constexpr int general_protection = 13;

void out_string(void* control) {
    constexpr std::uint16_t word = 0;
    const std::uint16_t* from = &word;
    const auto port = static_cast<std::uint16_t>(address(control));
    asm volatile("outsw" : "+S"(from) : "d"(port) : "memory");
}

void say_what_off_is() {
    hv_input_set_system_property in{};
    in.property_id = HV_SYSTEM_PROPERTY_SLEEP_STATE;
    in.set_sleep_state_info = {
        .sleep_state = HV_SLEEP_STATE_S5, .pm1a_slp_typ = type_of_off, .pm1b_slp_typ = type_of_off};
    check_equal(
        "the type of S5 is taken", call(HVCALL_SET_SYSTEM_PROPERTY, in).status, HV_STATUS_SUCCESS);
}

} // namespace

void check_sleep(std::uint16_t control) {
    say_what_off_is();
    const auto before = static_cast<std::uint16_t>(rax_after_in16(control));
    check_equal("a word read leaves the rest of RAX", rax_after_in16(control), ~0xffffull | before);
    check_equal("and so does a byte", rax_after_in8(control), ~0xffull | (before & 0xffu));
    constexpr std::uint16_t asks = another_type << type_shift;
    out16(control, before | asks);
    check_equal("what doesn't ask for sleep reaches the register", rax_after_in16(control) & 0xffff,
        before | asks);
    out16(control, before);
    out16(control, before | asks | enable);
    check_equal("sleep asked for by a word does not", rax_after_in16(control) & 0xffff, before);
    bare_out(control + 1, (asks | enable) >> 8);
    check_equal("nor that by a byte", rax_after_in16(control) & 0xffff, before);
    check_equal("a string that is written there raises #GP",
        static_cast<std::uint64_t>(
            bare_catch(out_string, reinterpret_cast<void*>(std::uintptr_t{control}))),
        general_protection);
}

} // namespace root
