// SPDX-License-Identifier: Apache-2.0
// Interrupts that a guest ends without an exit.
#include "abi/msr.h"
#include "tests/guests/guest_code.hpp"
#include "tests/guests/guest_machine.hpp"

#include <gtest/gtest.h>

GUEST(takes_interrupts)
GUEST(handles_with_assist)

namespace croft::guests {

namespace {

constexpr std::uint32_t x2apic_spurious = 0x80f;
constexpr std::uint64_t assist_page = 0xd000;
constexpr std::uint8_t low_vector = 0x33;
constexpr std::uint8_t high_vector = 0x43;

/// A guest that waits for interrupts.
class EoiAssist : public testing::Test {
protected:
    EoiAssist() {
        machine_.load(CODE(takes_interrupts));
        machine_.start_in_long_mode();
        machine_.handle(low_vector, CODE(handles_with_assist));
        machine_.handle(high_vector, CODE(handles_with_assist));
        machine_.set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
        set_msr(x2apic_spurious, 0x1ff);
    }

    void set_msr(std::uint32_t number, std::uint64_t value) {
        machine_.store(next_msr_, std::uint64_t{number});
        machine_.store(next_msr_ + 8, value);
        next_msr_ += 16;
    }
    void interrupt(std::uint8_t vector) {
        machine_.partition().assert_interrupt({.vector = vector});
    }

    GuestMachine machine_;
    std::uint64_t next_msr_ = GuestMachine::data_gpa;
};

TEST_F(EoiAssist, OneInterruptAfterTheOtherNeedsNoEoi) {
    set_msr(HV_X64_MSR_VP_ASSIST_PAGE, assist_page | HV_MSR_PAGE_ENABLE);
    ASSERT_EQ(machine_.report(), 1u);
    unsigned without = 0;
    constexpr unsigned count = 100;
    for (unsigned i = 0; i < count; ++i) {
        interrupt(high_vector); // of the same priority: it would wait for the end of the one before
        const auto said = machine_.report();
        ASSERT_TRUE(said.has_value());
        without += *said;
    }
    EXPECT_EQ(without, count);
    interrupt(low_vector);
    EXPECT_TRUE(machine_.report().has_value());
}

TEST_F(EoiAssist, OneBehindWhichAnotherWaitsNeedsItsEoi) {
    set_msr(HV_X64_MSR_VP_ASSIST_PAGE, assist_page | HV_MSR_PAGE_ENABLE);
    ASSERT_EQ(machine_.report(), 1u);
    interrupt(low_vector);
    interrupt(high_vector);
    EXPECT_EQ(machine_.report(), 0u);
    EXPECT_TRUE(machine_.report().has_value());
}

TEST_F(EoiAssist, IsNotThereWithoutItsPage) {
    ASSERT_EQ(machine_.report(), 1u);
    interrupt(high_vector);
    EXPECT_EQ(machine_.report(), 0u);
}

} // namespace

} // namespace croft::guests
