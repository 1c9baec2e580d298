// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/hypervisor/virtual_local_apic_fixture.hpp"

#include <array>
#include <gtest/gtest.h>

namespace hypervisor {
namespace {

TEST(VirtualLocalApic, FindsRegistersThatDoNotExist) {
    Enabled fixture;
    auto& apic = fixture.apic;
    for (const unsigned offset : {0x000U, 0x010U, 0x040U, 0x2F0U, 0x3F0U, 0x3D0U, 0x400U, 0xFF0U}) {
        EXPECT_EQ(apic.read(std::uint16_t(offset), start), 0U);
        EXPECT_EQ(read_errors(apic), apic_error::illegal_register) << offset;
        EXPECT_EQ(apic.write(std::uint16_t(offset), 0xFF, start), LocalApicEffect{});
        EXPECT_EQ(read_errors(apic), apic_error::illegal_register) << offset;
    }
    EXPECT_EQ(apic.write(0x084, 0xFF, start), LocalApicEffect{});
    EXPECT_EQ(apic.read(0x034, start), 0U);
    EXPECT_EQ(apic.read(0x032, start), 0x5U) << "the upper half of the version";
    EXPECT_EQ(read_errors(apic), 0U);
}

TEST(VirtualLocalApic, LeavesReadOnlyRegistersAlone) {
    Enabled fixture;
    auto& apic = fixture.apic;
    for (unsigned number = 0; number < 0x40; ++number) {
        const bool read_only = number <= 3 || (number >= 9 && number <= 0xC && number != 0xB) ||
            (number >= 0x10 && number <= 0x27) || number == 0x39;
        if (read_only) {
            const std::uint32_t before = read(apic, ApicRegister(number));
            write(apic, ApicRegister(number), ~before);
            EXPECT_EQ(read(apic, ApicRegister(number)), before) << number;
        }
    }
}

struct CommandCase {
    std::uint32_t low;
    bool sent;
    DeliveryMode mode;
    DestinationShorthand shorthand;
};

class VirtualLocalApicCommand : public testing::TestWithParam<CommandCase> {};

TEST_P(VirtualLocalApicCommand, IsDecodedOrDropped) {
    const CommandCase& expected = GetParam();
    Enabled fixture;
    write(fixture.apic, ApicRegister::interrupt_command_high, 0x07FFFFFF);
    EXPECT_EQ(read(fixture.apic, ApicRegister::interrupt_command_high), 0x07000000U);
    const auto effect =
        write(fixture.apic, ApicRegister::interrupt_command_low, expected.low | 0x1000);
    EXPECT_EQ(read(fixture.apic, ApicRegister::interrupt_command_low), expected.low)
        << "the delivery status always reads as idle";
    ASSERT_EQ(effect.command.has_value(), expected.sent);
    if (expected.sent) {
        EXPECT_EQ(effect.command->mode, expected.mode);
        EXPECT_EQ(effect.command->shorthand, expected.shorthand);
        EXPECT_EQ(effect.command->vector, expected.low & 0xFF);
        EXPECT_EQ(effect.command->logical, (expected.low & 0x800) != 0);
        EXPECT_EQ(effect.command->destination, 7U);
    }
}

using Short = DestinationShorthand;
INSTANTIATE_TEST_SUITE_P(Table, VirtualLocalApicCommand,
    testing::Values( //
        CommandCase{0x00040, true, DeliveryMode::fixed, Short::none},
        CommandCase{0x00840, true, DeliveryMode::fixed, Short::none},
        CommandCase{0x84040, true, DeliveryMode::fixed, Short::all},
        CommandCase{0xC4040, true, DeliveryMode::fixed, Short::all_but_self},
        CommandCase{0x00140, true, DeliveryMode::lowest_priority, Short::none},
        CommandCase{0x40140, false, DeliveryMode::lowest_priority, Short::self},
        CommandCase{0x00200, true, DeliveryMode::system_management, Short::none},
        CommandCase{0x00340, false, DeliveryMode::remote_read, Short::none},
        CommandCase{0x00400, true, DeliveryMode::non_maskable, Short::none},
        CommandCase{0xC4402, true, DeliveryMode::non_maskable, Short::all_but_self},
        CommandCase{0x0C500, true, DeliveryMode::init, Short::none},
        CommandCase{0x00500, true, DeliveryMode::init, Short::none},
        CommandCase{0x08500, false, DeliveryMode::init, Short::none}, // de-assert
        CommandCase{0xC4500, true, DeliveryMode::init, Short::all_but_self},
        CommandCase{0x44500, false, DeliveryMode::init, Short::self},
        CommandCase{0x84500, false, DeliveryMode::init, Short::all},
        CommandCase{0x00608, true, DeliveryMode::startup, Short::none},
        CommandCase{0x84608, false, DeliveryMode::startup, Short::all},
        CommandCase{0x00740, false, DeliveryMode::external, Short::none}));

TEST(VirtualLocalApic, SendsToItselfDirectly) {
    Enabled fixture;
    auto& apic = fixture.apic;
    const auto effect = write(apic, ApicRegister::interrupt_command_low, 0x40040);
    EXPECT_EQ(effect,
        (LocalApicEffect{.recheck_interrupts = true,
            .command = InterruptCommand{.vector = 0x40, .shorthand = DestinationShorthand::self}}));
    EXPECT_EQ(apic.deliverable(), 0x40);
}

TEST(VirtualLocalApic, WidensTheBroadcastOfAnXapic) {
    Enabled fixture;
    write(fixture.apic, ApicRegister::interrupt_command_high, 0xFF000000);
    const auto effect = write(fixture.apic, ApicRegister::interrupt_command_low, 0x40);
    ASSERT_TRUE(effect.command);
    EXPECT_EQ(effect.command->destination, broadcast_destination);
}

TEST(VirtualLocalApic, TellsTheOwnerAboutEndsOfInterrupts) {
    Enabled fixture;
    auto& apic = fixture.apic;
    EXPECT_EQ(write(apic, ApicRegister::end_of_interrupt, 0), LocalApicEffect{});
    ASSERT_TRUE(apic.accept(0x70, true));
    ASSERT_TRUE(apic.acknowledge(0x70));
    EXPECT_EQ(read(apic, ApicRegister(0x13)), 1U << 16);
    EXPECT_EQ(read(apic, ApicRegister(0x1B)), 1U << 16);
    auto effect = write(apic, ApicRegister::end_of_interrupt, 0x12345678);
    EXPECT_FALSE(effect.recheck_interrupts) << "none waited for it";
    EXPECT_EQ(effect.end_of_interrupt, (EndOfInterrupt{0x70, true}));
    ASSERT_TRUE(apic.accept(0x71, false));
    ASSERT_TRUE(apic.acknowledge(0x71));
    ASSERT_TRUE(apic.accept(0x70, false));
    effect = write(apic, ApicRegister::end_of_interrupt, 0);
    EXPECT_TRUE(effect.recheck_interrupts);
    EXPECT_EQ(effect.end_of_interrupt, (EndOfInterrupt{0x71, false}));
    EXPECT_EQ(read(apic, ApicRegister(0x1B)), 0U) << "an edge clears the trigger mode";
}

struct BaseCase {
    std::uint64_t from;
    std::uint64_t to;
    bool legal;
};

class VirtualLocalApicBase : public testing::TestWithParam<BaseCase> {};

TEST_P(VirtualLocalApicBase, StepsAsTheArchitectureAllows) {
    const auto& [from, to, legal] = GetParam();
    VirtualLocalApic apic{0, true};
    ASSERT_TRUE(apic.restore_base(from));
    ASSERT_EQ(apic.base(), from | apic_base::bootstrap);
    EXPECT_EQ(apic.write_base(to).has_value(), legal);
    EXPECT_EQ(apic.base(), (legal ? to : from) | apic_base::bootstrap);
}

constexpr std::uint64_t base_off = apic_base::address;
INSTANTIATE_TEST_SUITE_P(Table, VirtualLocalApicBase,
    testing::Values( //
        BaseCase{base_xapic, base_xapic, true}, BaseCase{base_xapic, base_x2apic, true},
        BaseCase{base_xapic, base_off, true}, BaseCase{base_x2apic, base_x2apic, true},
        BaseCase{base_x2apic, base_off, true}, BaseCase{base_x2apic, base_xapic, false},
        BaseCase{base_off, base_xapic, true}, BaseCase{base_off, base_x2apic, false},
        BaseCase{base_off, base_off, true},
        BaseCase{base_off, base_off | apic_base::extended, false},
        BaseCase{base_xapic, base_off | apic_base::extended, false},
        BaseCase{base_xapic, base_xapic | apic_base::bootstrap, true},
        BaseCase{base_xapic, base_xapic + 0x1000, false},
        BaseCase{base_xapic, base_xapic | 1, false},
        BaseCase{base_xapic, base_xapic | 0x200, false},
        BaseCase{base_xapic, base_xapic | std::uint64_t{1} << 40, false}));

TEST(VirtualLocalApic, HasNoX2apicModeIfThatIsNotOffered) {
    VirtualLocalApic apic{0, true, {.x2apic = false, .tsc_deadline = false}};
    EXPECT_FALSE(apic.write_base(base_x2apic));
    EXPECT_FALSE(apic.restore_base(base_x2apic));
    EXPECT_FALSE(apic.read_tsc_deadline());
    EXPECT_FALSE(apic.write_tsc_deadline(1, start));
}

TEST(VirtualLocalApic, ForgetsItsStateWhenDisabled) {
    Extended fixture;
    auto& apic = fixture.apic;
    ASSERT_TRUE(apic.accept(0x40, false));
    const auto effect = apic.write_base(base_off);
    ASSERT_TRUE(effect);
    EXPECT_TRUE(effect->timer_changed);
    ASSERT_TRUE(apic.write_base(base_xapic));
    EXPECT_FALSE(apic.pending());
    EXPECT_FALSE(apic.software_enabled());
}

TEST(VirtualLocalApic, KeepsItsStateWhenExtended) {
    Enabled fixture;
    auto& apic = fixture.apic;
    write(apic, ApicRegister::interrupt_command_high, 0x07000000);
    write(apic, ApicRegister::lvt_pin0, 0x700);
    apic.set_tpr(0x33);
    ASSERT_TRUE(apic.accept(0x40, false));
    ASSERT_TRUE(apic.write_base(base_x2apic));
    EXPECT_EQ(apic.pending(), 0x40);
    EXPECT_EQ(apic.read_msr(apic_msr(ApicRegister::task_priority), start), 0x33U);
    EXPECT_EQ(apic.read_msr(apic_msr(ApicRegister::lvt_pin0), start), 0x700U);
    EXPECT_EQ(apic.read_msr(apic_msr(ApicRegister::interrupt_command_low), start), 0U);
}

TEST(VirtualLocalApic, HasNoMsrsOutsideX2apicMode) {
    Enabled fixture;
    for (std::uint32_t msr = x2apic_msr_first; msr <= x2apic_msr_last; ++msr) {
        EXPECT_FALSE(fixture.apic.read_msr(msr, start));
        EXPECT_FALSE(fixture.apic.write_msr(msr, 0, start));
    }
}

TEST(VirtualLocalApic, OffersTheMsrsThatTheManualLists) {
    // SDM vol. 3, table 11-6, without the machine-check entry that the version register denies.
    const auto readable = [](std::uint32_t number) {
        return number == 2 || number == 3 || number == 8 || number == 0xA || number == 0xD ||
            number == 0xF || (number >= 0x10 && number <= 0x28) || number == 0x30 ||
            (number >= 0x32 && number <= 0x39) || number == 0x3E;
    };
    const auto writable = [](std::uint32_t number) {
        return number == 8 || number == 0xB || number == 0xF || number == 0x28 ||
            (number >= 0x30 && number <= 0x38 && number != 0x31) || number == 0x3E ||
            number == 0x3F;
    };
    Extended fixture;
    for (std::uint32_t number = 0; number < 0x100; ++number) {
        const std::uint32_t msr = x2apic_msr_first + number;
        EXPECT_EQ(fixture.apic.read_msr(msr, start).has_value(), readable(number)) << number;
        EXPECT_EQ(fixture.apic.write_msr(msr, 0, start).has_value(), writable(number)) << number;
    }
    EXPECT_FALSE(fixture.apic.read_msr(0, start));
    EXPECT_FALSE(fixture.apic.write_msr(0xFFFFFFFF, 0, start));
}

TEST(VirtualLocalApic, FaultsOnReservedBitsInX2apicMode) {
    struct Case {
        ApicRegister which;
        std::uint64_t value;
        bool legal;
    };
    constexpr std::uint64_t high = std::uint64_t{1} << 32;
    const std::array cases{
        Case{ApicRegister::task_priority, 0xFF, true},
        Case{ApicRegister::task_priority, 0x100, false},
        Case{ApicRegister::task_priority, high, false},
        Case{ApicRegister::end_of_interrupt, 1, false},
        Case{ApicRegister::error_status, 1, false},
        Case{ApicRegister::spurious_vector, 0x3FF, true},
        Case{ApicRegister::spurious_vector, 0x1100, false},
        Case{ApicRegister::lvt_timer, 0x310FF, true},
        Case{ApicRegister::lvt_timer, 0x400EF, true},
        Case{ApicRegister::lvt_timer, 0x600EF, false},
        Case{ApicRegister::lvt_timer, 0x700, false},
        Case{ApicRegister::lvt_thermal, 0x117FF, true},
        Case{ApicRegister::lvt_thermal, 0x8000, false},
        Case{ApicRegister::lvt_pin1, 0x1F7FF, true},
        Case{ApicRegister::lvt_pin1, 0x800, false},
        Case{ApicRegister::lvt_error, 0x110FF, true},
        Case{ApicRegister::lvt_error, 0x400, false},
        Case{ApicRegister::timer_initial_count, 0xFFFFFFFF, true},
        Case{ApicRegister::timer_initial_count, high, false},
        Case{ApicRegister::timer_divide, 0xB, true},
        Case{ApicRegister::timer_divide, 0x4, false},
        Case{ApicRegister::self_interrupt, 0xFF, true},
        Case{ApicRegister::self_interrupt, 0x100, false},
        Case{ApicRegister::interrupt_command_low, high * 0x12345678 | 0xCDFFF, true},
        Case{ApicRegister::interrupt_command_low, 0x2040, false},
        Case{ApicRegister::interrupt_command_low, 0x10040, false},
        Case{ApicRegister::interrupt_command_low, 0x100040, false},
    };
    for (const auto& [which, value, legal] : cases) {
        Extended fixture;
        EXPECT_EQ(fixture.apic.write_msr(apic_msr(which), value, start).has_value(), legal)
            << std::hex << apic_msr(which) << ' ' << value;
    }
}

TEST(VirtualLocalApic, SendsWithThirtyTwoBitsOfDestination) {
    Extended fixture;
    const auto effect = fixture.apic.write_msr(0x830, 0x0001'0003'0000'4840, start);
    ASSERT_TRUE(effect);
    const InterruptCommand expected{.mode = DeliveryMode::fixed,
        .vector = 0x40,
        .shorthand = DestinationShorthand::none,
        .logical = true,
        .asserted = true,
        .level_triggered = false,
        .destination = 0x00010003};
    EXPECT_EQ(effect->command, expected);
    EXPECT_EQ(fixture.apic.read_msr(0x830, start), 0x0001'0003'0000'4840U);
}

TEST(VirtualLocalApic, HasASelfInterruptRegister) {
    Extended fixture;
    const auto effect = fixture.apic.write_msr(0x83F, 0x41, start);
    ASSERT_TRUE(effect);
    EXPECT_EQ(*effect,
        (LocalApicEffect{.recheck_interrupts = true,
            .command = InterruptCommand{.vector = 0x41, .shorthand = DestinationShorthand::self}}));
    EXPECT_EQ(fixture.apic.deliverable(), 0x41);
    EXPECT_TRUE(fixture.apic.write_msr(0x83F, 0x0F, start));
    EXPECT_EQ(read_errors(fixture.apic), apic_error::sent_illegal_vector);
}

} // namespace
} // namespace hypervisor
