// SPDX-License-Identifier: Apache-2.0
// Registers beyond the general ones, while guests take turns on too few processors.
#include "tests/guests/guest_code.hpp"
#include "tests/guests/keeper.hpp"

#include <gtest/gtest.h>
#include <memory>
#include <vector>

GUEST(keeps_extended_state)
GUEST(keeps_debug_registers)

namespace croft::guests {

namespace {

void fill_extended_state(GuestMachine& machine, std::uint64_t number) {
    constexpr std::uint64_t ymm_gpa = Keeper::gpa + 0x40;
    constexpr std::uint64_t x87_gpa = Keeper::gpa + 0x240;
    for (std::uint64_t i = 0; i < 16; ++i) {
        for (std::uint64_t part = 0; part < 4; ++part) {
            machine.store(ymm_gpa + 32 * i + 8 * part,
                (number << 48) | (i << 40) | (part << 32) | (0x5eed0000 + 7 * i));
        }
    }
    for (std::uint64_t i = 0; i < 8; ++i) {
        constexpr std::uint64_t integer_bit = 1ull << 63;
        machine.store(x87_gpa + 16 * i, integer_bit | (number << 48) | (i << 40) | 0x87);
        machine.store(x87_gpa + 16 * i + 8, static_cast<std::uint16_t>(0x3fff + number + i));
    }
}

/// Four addresses, and which of them are breakpoints: nothing is ever done there.
void fill_debug_registers(GuestMachine& machine, std::uint64_t number) {
    constexpr std::uint64_t registers_gpa = Keeper::gpa + 0x40;
    constexpr std::uint64_t far_away = 1ull << 32;
    for (std::uint64_t i = 0; i < 4; ++i) {
        machine.store(registers_gpa + 8 * i, far_away + (number << 16) + (i << 12));
    }
    constexpr std::uint64_t fixed = 1u << 10;
    machine.store(registers_gpa + 32, fixed | (2u << (2 * (number % 4))));
}

TEST(ExtendedState, IsEachGuestsOwnWhileTheyTakeTurns) {
    std::vector<std::unique_ptr<Keeper>> keepers;
    for (std::size_t i = 0; i < enough_keepers(); ++i) {
        keepers.push_back(std::make_unique<Keeper>(CODE(keeps_extended_state)));
        fill_extended_state(keepers.back()->machine(), i + 1);
    }
    expect_that_they_keep(keepers);
}

TEST(DebugRegisters, AreEachGuestsOwnWhileTheyTakeTurns) {
    std::vector<std::unique_ptr<Keeper>> keepers;
    for (std::size_t i = 0; i < enough_keepers(); ++i) {
        keepers.push_back(std::make_unique<Keeper>(CODE(keeps_debug_registers)));
        fill_debug_registers(keepers.back()->machine(), i + 1);
    }
    expect_that_they_keep(keepers);
}

/// A guest begins with none of what another has left in the processor.
TEST(DebugRegisters, BeginAsAfterPowerUp) {
    for (std::uint64_t number = 1; number <= 2; ++number) {
        Keeper keeper{CODE(keeps_debug_registers)};
        GuestMachine& machine = keeper.machine();
        for (const std::uint32_t name :
            {HV_X64_REGISTER_DR0, HV_X64_REGISTER_DR1, HV_X64_REGISTER_DR2, HV_X64_REGISTER_DR3}) {
            EXPECT_EQ(machine.get(name), 0u);
        }
        EXPECT_EQ(machine.get(HV_X64_REGISTER_DR6), 0xffff0ff0u);
        EXPECT_EQ(machine.get(HV_X64_REGISTER_DR7), 0x400u);
        fill_debug_registers(machine, number);
        keeper.stop();
        keeper.run();
        EXPECT_EQ(keeper.said(), 0u);
        EXPECT_EQ(machine.get(HV_X64_REGISTER_DR0), (1ull << 32) + (number << 16));
    }
}

} // namespace

} // namespace croft::guests
