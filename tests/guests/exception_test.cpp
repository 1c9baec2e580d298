// SPDX-License-Identifier: Apache-2.0
// Exceptions that the hypervisor sees before the guest does, and those that it raises.
#include "tests/guests/guest_code.hpp"
#include "tests/guests/guest_machine.hpp"

#include <gtest/gtest.h>

GUEST(nops)
GUEST(reads_performance_counter)
GUEST(reads_processor_counter)
GUEST(handlers)

namespace croft::guests {

namespace {

constexpr std::uint64_t gdt_gpa = 0x4000;
constexpr std::uint64_t idt_gpa = 0x5000;
constexpr std::uint64_t handlers_gpa = 0x6000;
constexpr std::uint64_t handler_size = 32;
constexpr std::uint64_t rflags_tf = 0x102;
constexpr std::uint32_t dr6_single_step = 1u << 14;

enum Vector : std::uint32_t { debug = 1, invalid_opcode = 6, general_protection = 13 };

/// A guest in long mode with the handlers of exception_code.S.
class ExceptionTest : public testing::Test {
protected:
    void start(Code code) {
        machine.load(code);
        machine.load(CODE(handlers), handlers_gpa);
        machine.start_in_long_mode();
        constexpr std::uint64_t long_mode_code = 0x00af9b000000ffff;
        machine.store(gdt_gpa + 8, long_mode_code);
        set_gate(debug, 0);
        set_gate(invalid_opcode, 1);
        set_gate(general_protection, 2);
        hv_x64_table_register gdt{};
        gdt.base = gdt_gpa;
        gdt.limit = 0xf;
        hv_x64_table_register idt{};
        idt.base = idt_gpa;
        idt.limit = 0xfff;
        machine.vp().set_registers(std::array{hv::register_value(HV_X64_REGISTER_GDTR, gdt),
            hv::register_value(HV_X64_REGISTER_IDTR, idt)});
    }

    GuestMachine machine;

private:
    void set_gate(std::uint32_t vector, std::uint64_t handler) {
        constexpr std::uint64_t interrupt_gate = 0x00008e0000080000;
        const std::uint64_t address = handlers_gpa + handler * handler_size;
        machine.store(idt_gpa + vector * 16,
            interrupt_gate | (address & 0xffff) | ((address >> 16 & 0xffff) << 48));
        machine.store(idt_gpa + vector * 16 + 8, address >> 32);
    }
};

TEST_F(ExceptionTest, SingleStepReachesTheGuestBehindTheInstruction) {
    start(CODE(nops));
    machine.set(HV_X64_REGISTER_RFLAGS, rflags_tf);
    EXPECT_EQ(machine.report(), debug);
    EXPECT_EQ(machine.report(), GuestMachine::code_gpa + 1);
    EXPECT_EQ(machine.report().value_or(0) & dr6_single_step, dr6_single_step);
}

TEST_F(ExceptionTest, PerformanceCountersAreNotThere) {
    start(CODE(reads_performance_counter));
    EXPECT_EQ(machine.report(), general_protection);
}

TEST_F(ExceptionTest, ProcessorCountersAreNotThere) {
    start(CODE(reads_processor_counter));
    EXPECT_EQ(machine.report(), invalid_opcode);
}

} // namespace

} // namespace croft::guests
