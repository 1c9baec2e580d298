// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/apic/virtual_local_apic.hpp"

#include <array>
#include <atomic>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

namespace hypervisor {
namespace {

using Mode = VirtualLocalApic::Mode;

constexpr ApicTime start{.bus = 1000, .tsc = 5000};
constexpr std::uint32_t software_enable = apic_spurious::software_enable | 0xFF;
constexpr std::uint64_t base_xapic = apic_base::address | apic_base::enabled;
constexpr std::uint64_t base_x2apic = base_xapic | apic_base::extended;

ApicTime bus(std::uint64_t ticks) {
    return {.bus = ticks, .tsc = 0};
}

LocalApicEffect write(
    VirtualLocalApic& apic, ApicRegister which, std::uint32_t value, ApicTime now = start) {
    return apic.write(apic_offset(which), value, now);
}

std::uint32_t read(VirtualLocalApic& apic, ApicRegister which, ApicTime now = start) {
    return apic.read(apic_offset(which), now);
}

/// Software-enabled, of ID 3.
struct Enabled {
    VirtualLocalApic apic{3, false, {.x2apic = true, .tsc_deadline = true}};
    Enabled() { write(apic, ApicRegister::spurious_vector, software_enable); }
};

struct Extended : Enabled {
    Extended() { EXPECT_TRUE(apic.write_base(base_x2apic)); }
};

std::uint32_t read_errors(VirtualLocalApic& apic) {
    if (apic.mode() == Mode::x2apic) {
        EXPECT_TRUE(apic.write_msr(apic_msr(ApicRegister::error_status), 0, start));
        return std::uint32_t(apic.read_msr(apic_msr(ApicRegister::error_status), start).value());
    }
    write(apic, ApicRegister::error_status, 0);
    return read(apic, ApicRegister::error_status);
}

TEST(VirtualLocalApic, StandsAsAfterPowerUp) {
    VirtualLocalApic apic{5, true};
    EXPECT_EQ(apic.mode(), Mode::xapic);
    EXPECT_EQ(apic.base(), 0xFEE00900U);
    EXPECT_FALSE(apic.software_enabled());
    EXPECT_EQ(read(apic, ApicRegister::id), 5U << 24);
    EXPECT_EQ(read(apic, ApicRegister::version), 0x50014U);
    EXPECT_EQ(read(apic, ApicRegister::spurious_vector), 0xFFU);
    EXPECT_EQ(read(apic, ApicRegister::destination_format), 0xFFFFFFFFU);
    EXPECT_EQ(read(apic, ApicRegister::logical_destination), 0U);
    for (unsigned number = 0x32; number <= 0x37; ++number) {
        EXPECT_EQ(read(apic, ApicRegister(number)), apic_lvt::masked) << number;
    }
    EXPECT_FALSE(apic.deliverable());
    EXPECT_FALSE(apic.timer_deadline());
    EXPECT_EQ((VirtualLocalApic{5, false}.base()), 0xFEE00800U);
}

TEST(VirtualLocalApic, OneThatIsNotPresentStaysDisabled) {
    VirtualLocalApic apic{5, true, {.x2apic = true, .present = false}};
    EXPECT_EQ(apic.mode(), Mode::disabled);
    EXPECT_FALSE(apic.write_base(apic.base() | apic_base::enabled));
    EXPECT_FALSE(apic.write_base(apic.base() | apic_base::enabled | apic_base::extended));
    EXPECT_TRUE(apic.write_base(apic.base()));
    apic.reset();
    EXPECT_EQ(apic.mode(), Mode::disabled);
}

TEST(VirtualLocalApic, InitKeepsTheModeAndResetDoesNot) {
    Extended fixture;
    auto& apic = fixture.apic;
    ASSERT_TRUE(apic.accept(0x40, true));
    apic.set_tpr(0x20);
    apic.init();
    EXPECT_EQ(apic.mode(), Mode::x2apic);
    EXPECT_EQ(apic.tpr(), 0);
    EXPECT_FALSE(apic.pending());
    EXPECT_FALSE(apic.software_enabled());
    apic.reset();
    EXPECT_EQ(apic.mode(), Mode::xapic);
}

TEST(VirtualLocalApic, DeliversTheHighestFirst) {
    Enabled fixture;
    auto& apic = fixture.apic;
    EXPECT_TRUE(apic.accept(0x31, false));
    EXPECT_FALSE(apic.accept(0x31, false)) << "is pending already";
    EXPECT_TRUE(apic.accept(0x80, false));
    EXPECT_TRUE(apic.accept(0xFF, false));
    EXPECT_TRUE(apic.accept(0x10, false));
    for (const std::uint8_t vector : std::to_array<std::uint8_t>({0xFF, 0x80, 0x31, 0x10})) {
        ASSERT_EQ(apic.deliverable(), vector);
        EXPECT_TRUE(apic.acknowledge(vector));
        EXPECT_EQ(apic.ppr(), vector & 0xF0);
        EXPECT_EQ(apic.eoi(), (EndOfInterrupt{vector, false}));
    }
    EXPECT_FALSE(apic.deliverable());
    EXPECT_FALSE(apic.eoi());
}

TEST(VirtualLocalApic, NestsByClassNotByVector) {
    Enabled fixture;
    auto& apic = fixture.apic;
    ASSERT_TRUE(apic.accept(0x45, false));
    ASSERT_TRUE(apic.acknowledge(0x45));
    ASSERT_TRUE(apic.accept(0x4F, false));
    EXPECT_EQ(apic.pending(), 0x4F);
    EXPECT_FALSE(apic.deliverable()) << "the same class waits";
    ASSERT_TRUE(apic.accept(0x50, true));
    EXPECT_EQ(apic.deliverable(), 0x50);
    ASSERT_TRUE(apic.acknowledge(0x50));
    EXPECT_EQ(apic.ppr(), 0x50);
    EXPECT_EQ(apic.eoi(), (EndOfInterrupt{0x50, true}));
    EXPECT_EQ(apic.ppr(), 0x40);
    EXPECT_EQ(apic.eoi(), (EndOfInterrupt{0x45, false}));
    EXPECT_EQ(apic.deliverable(), 0x4F);
}

TEST(VirtualLocalApic, HoldsBackWhatTheTaskPriorityCovers) {
    Enabled fixture;
    auto& apic = fixture.apic;
    ASSERT_TRUE(apic.accept(0x5A, false));
    EXPECT_FALSE(apic.set_tpr(0x50));
    EXPECT_FALSE(apic.deliverable());
    EXPECT_TRUE(apic.set_tpr(0x4F));
    EXPECT_EQ(apic.ppr(), 0x4F);
    EXPECT_EQ(apic.deliverable(), 0x5A);
    EXPECT_FALSE(write(apic, ApicRegister::task_priority, 0x1F0).recheck_interrupts);
    EXPECT_EQ(apic.tpr(), 0xF0);
    EXPECT_EQ(apic.cr8(), 0xF);
    EXPECT_TRUE(write(apic, ApicRegister::task_priority, 0).recheck_interrupts);
}

TEST(VirtualLocalApic, KeepsTheLowHalfOfThePriorityIfItsClassComesBack) {
    VirtualLocalApic apic{0, true};
    apic.set_tpr(0x47);
    EXPECT_FALSE(apic.set_cr8(4));
    EXPECT_EQ(apic.tpr(), 0x47);
    EXPECT_TRUE(apic.set_cr8(3));
    EXPECT_EQ(apic.tpr(), 0x30);
}

TEST(VirtualLocalApic, ShowsNothingInServiceThatEndsByItself) {
    Enabled fixture;
    auto& apic = fixture.apic;
    ASSERT_TRUE(apic.accept(0x60, false));
    EXPECT_TRUE(apic.acknowledge(0x60, true));
    EXPECT_FALSE(apic.acknowledge(0x60)) << "no longer requested";
    EXPECT_EQ(apic.ppr(), 0);
    EXPECT_FALSE(apic.eoi());
}

TEST(VirtualLocalApic, TakesNothingInWhileDisabled) {
    VirtualLocalApic apic{0, true};
    EXPECT_FALSE(apic.accept(0x40, false)) << "disabled by software";
    write(apic, ApicRegister::spurious_vector, software_enable);
    EXPECT_TRUE(apic.accept(0x40, false));
    write(apic, ApicRegister::spurious_vector, 0xFF);
    EXPECT_EQ(apic.deliverable(), 0x40) << "what was pending stays";
    ASSERT_TRUE(apic.write_base(apic_base::address));
    EXPECT_FALSE(apic.deliverable());
    EXPECT_FALSE(apic.accept(0x40, false));
    EXPECT_FALSE(apic.matches_physical(0));
    EXPECT_FALSE(apic.matches_logical(broadcast_destination));
}

TEST(VirtualLocalApic, SeesIllegalVectorsAsErrors) {
    Enabled fixture;
    auto& apic = fixture.apic;
    write(apic, ApicRegister::lvt_error, 0xFE);
    EXPECT_TRUE(apic.accept(15, false)) << "for the error interrupt";
    EXPECT_EQ(apic.deliverable(), 0xFE);
    ASSERT_TRUE(apic.acknowledge(0xFE));
    EXPECT_FALSE(apic.accept(0, false)) << "one interrupt until the status is read";
    const auto effect = write(apic, ApicRegister::interrupt_command_low, 0x0F);
    EXPECT_FALSE(effect.command);
    EXPECT_EQ(read(apic, ApicRegister::error_status), 0U) << "shown by a write only";
    EXPECT_EQ(
        read_errors(apic), apic_error::received_illegal_vector | apic_error::sent_illegal_vector);
    EXPECT_EQ(read_errors(apic), 0U);
    EXPECT_TRUE(apic.accept(3, false));
}

TEST(VirtualLocalApic, DoesNotRecurseOnAnIllegalErrorVector) {
    Enabled fixture;
    auto& apic = fixture.apic;
    write(apic, ApicRegister::lvt_error, 0x05);
    EXPECT_FALSE(apic.accept(0, false));
    EXPECT_EQ(read_errors(apic), apic_error::received_illegal_vector);
}

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
    EXPECT_EQ(effect, (LocalApicEffect{.recheck_interrupts = true}));
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

TEST(VirtualLocalApic, MatchesDestinationsOfAnXapic) {
    VirtualLocalApic apic{3, false};
    EXPECT_TRUE(apic.matches_physical(3));
    EXPECT_TRUE(apic.matches_physical(0xFF));
    EXPECT_TRUE(apic.matches_physical(broadcast_destination));
    EXPECT_FALSE(apic.matches_physical(0x103));
    EXPECT_FALSE(apic.matches_logical(0x08)) << "no logical ID yet";
    write(apic, ApicRegister::logical_destination, 0x28FFFFFF);
    EXPECT_EQ(read(apic, ApicRegister::logical_destination), 0x28000000U);
    EXPECT_TRUE(apic.matches_logical(0x08));
    EXPECT_TRUE(apic.matches_logical(0xE0));
    EXPECT_FALSE(apic.matches_logical(0xD7));
    EXPECT_TRUE(apic.matches_logical(0xFF));
    write(apic, ApicRegister::destination_format, 0);
    EXPECT_EQ(read(apic, ApicRegister::destination_format), 0x0FFFFFFFU);
    EXPECT_TRUE(apic.matches_logical(0x28));
    EXPECT_TRUE(apic.matches_logical(0x2F));
    EXPECT_FALSE(apic.matches_logical(0x27));
    EXPECT_FALSE(apic.matches_logical(0x38));
    EXPECT_TRUE(apic.matches_logical(0xFF));
    write(apic, ApicRegister::destination_format, 0x50000000);
    EXPECT_FALSE(apic.matches_logical(0x28)) << "a reserved model";
}

TEST(VirtualLocalApic, MatchesDestinationsOfAnX2apic) {
    VirtualLocalApic apic{0x123, false};
    write(apic, ApicRegister::spurious_vector, software_enable);
    EXPECT_TRUE(apic.matches_physical(0x23)) << "the xAPIC sees eight bits of the ID";
    ASSERT_TRUE(apic.write_base(base_x2apic));
    EXPECT_EQ(apic.read_msr(0x802, start), 0x123U);
    EXPECT_EQ(apic.read_msr(0x80D, start), 0x120008U);
    EXPECT_TRUE(apic.matches_physical(0x123));
    EXPECT_FALSE(apic.matches_physical(0x23));
    EXPECT_FALSE(apic.matches_physical(0xFF));
    EXPECT_TRUE(apic.matches_physical(broadcast_destination));
    EXPECT_TRUE(apic.matches_logical(0x120008));
    EXPECT_TRUE(apic.matches_logical(0x12000F));
    EXPECT_FALSE(apic.matches_logical(0x120007));
    EXPECT_FALSE(apic.matches_logical(0x130008));
    EXPECT_TRUE(apic.matches_logical(broadcast_destination));
}

TEST(VirtualLocalApic, ArbitratesByPriorityThenByTurns) {
    VirtualLocalApic first{0, true};
    VirtualLocalApic second{1, false};
    VirtualLocalApic third{2, false};
    write(third, ApicRegister::spurious_vector, software_enable);
    const std::array candidates{&first, &second, &third};
    EXPECT_EQ(VirtualLocalApic::lowest_priority({}, 5), nullptr);
    EXPECT_EQ(VirtualLocalApic::lowest_priority(candidates, 0), &first);
    EXPECT_EQ(VirtualLocalApic::lowest_priority(candidates, 4), &second);
    first.set_tpr(0x20);
    second.set_tpr(0x10);
    ASSERT_TRUE(third.accept(0x15, false));
    EXPECT_EQ(third.arbitration_priority(), 0x10);
    EXPECT_EQ(VirtualLocalApic::lowest_priority(candidates, 0), &second);
    EXPECT_EQ(VirtualLocalApic::lowest_priority(candidates, 2), &third);
    EXPECT_EQ(VirtualLocalApic::lowest_priority(candidates, ~std::size_t{0}), &second)
        << "the first two are asked before the third";
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
    EXPECT_EQ(*effect, (LocalApicEffect{.recheck_interrupts = true}));
    EXPECT_EQ(fixture.apic.deliverable(), 0x41);
    EXPECT_TRUE(fixture.apic.write_msr(0x83F, 0x0F, start));
    EXPECT_EQ(read_errors(fixture.apic), apic_error::sent_illegal_vector);
}

TEST(VirtualLocalApic, MasksItsTableWhileSoftwareDisablesIt) {
    Enabled fixture;
    auto& apic = fixture.apic;
    write(apic, ApicRegister::lvt_pin0, 0x700);
    EXPECT_EQ(apic.raise_local(LocalInterruptSource::pin0), DeliveryMode::external);
    write(apic, ApicRegister::spurious_vector, 0xFF);
    EXPECT_EQ(read(apic, ApicRegister::lvt_pin0), 0x10700U);
    write(apic, ApicRegister::lvt_pin0, 0x700);
    EXPECT_EQ(read(apic, ApicRegister::lvt_pin0), 0x10700U);
    EXPECT_FALSE(apic.raise_local(LocalInterruptSource::pin0));
    write(apic, ApicRegister::spurious_vector, software_enable);
    EXPECT_EQ(read(apic, ApicRegister::lvt_pin0), 0x10700U) << "the mask stays until it is lifted";
}

TEST(VirtualLocalApic, RaisesWhatTheTableSays) {
    Enabled fixture;
    auto& apic = fixture.apic;
    using Source = LocalInterruptSource;
    EXPECT_FALSE(apic.raise_local(Source::pin1)) << "masked";
    write(apic, ApicRegister::lvt_pin1, 0x400);
    EXPECT_EQ(apic.raise_local(Source::pin1), DeliveryMode::non_maskable);
    write(apic, ApicRegister::lvt_performance, 0x0EC);
    EXPECT_EQ(apic.raise_local(Source::performance), DeliveryMode::fixed);
    EXPECT_EQ(apic.deliverable(), 0xEC);
    EXPECT_FALSE(apic.raise_local(Source::performance)) << "is pending already";
    write(apic, ApicRegister::lvt_thermal, 0x200);
    EXPECT_EQ(apic.raise_local(Source::thermal), DeliveryMode::system_management);
    write(apic, ApicRegister::lvt_pin0, 0x80ED);
    EXPECT_EQ(apic.raise_local(Source::pin0), DeliveryMode::fixed);
    ASSERT_TRUE(apic.acknowledge(0xED));
    EXPECT_EQ(apic.eoi(), (EndOfInterrupt{0xED, true}));
    write(apic, ApicRegister::lvt_pin0, 0x600);
    EXPECT_FALSE(apic.raise_local(Source::pin0)) << "reserved";
    ASSERT_TRUE(apic.write_base(base_off));
    EXPECT_EQ(apic.raise_local(Source::pin0), DeliveryMode::external);
    EXPECT_EQ(apic.raise_local(Source::pin1), DeliveryMode::non_maskable);
    EXPECT_FALSE(apic.raise_local(Source::thermal));
}

TEST(VirtualLocalApic, RunsAPeriodicTimer) {
    Enabled fixture;
    auto& apic = fixture.apic;
    write(apic, ApicRegister::timer_divide, 0b1011, bus(0));
    write(apic, ApicRegister::lvt_timer, apic_lvt::timer_periodic | 0xEC, bus(0));
    EXPECT_EQ(apic.lvt_timer_vector(), 0xEC);
    const auto effect = write(apic, ApicRegister::timer_initial_count, 100, bus(0));
    EXPECT_EQ(effect, (LocalApicEffect{.timer_changed = true}));
    EXPECT_EQ(apic.timer_deadline()->at, 100U);
    EXPECT_FALSE(apic.timer_expire(bus(99)));
    EXPECT_TRUE(apic.timer_expire(bus(100)));
    EXPECT_EQ(apic.deliverable(), 0xEC);
    EXPECT_FALSE(apic.timer_expire(bus(250))) << "pending already";
    EXPECT_EQ(apic.timer_deadline()->at, 300U);
    EXPECT_EQ(read(apic, ApicRegister::timer_current_count, bus(260)), 40U);
}

TEST(VirtualLocalApic, DoesNotRaiseLaterWhatTheMaskHid) {
    Enabled fixture;
    auto& apic = fixture.apic;
    write(apic, ApicRegister::lvt_timer, apic_lvt::masked | 0xEC, bus(0));
    write(apic, ApicRegister::timer_initial_count, 10, bus(0));
    EXPECT_FALSE(apic.timer_deadline());
    EXPECT_FALSE(write(apic, ApicRegister::lvt_timer, 0xEC, bus(1000)).recheck_interrupts);
    EXPECT_FALSE(apic.timer_expire(bus(1000)));
    EXPECT_FALSE(apic.pending());
}

TEST(VirtualLocalApic, RaisesBeforeAWriteWhatWasDueBeforeIt) {
    Enabled fixture;
    auto& apic = fixture.apic;
    for (const auto which : {ApicRegister::lvt_timer, ApicRegister::timer_initial_count,
             ApicRegister::timer_divide, ApicRegister::spurious_vector}) {
        write(apic, ApicRegister::spurious_vector, software_enable, bus(0));
        write(apic, ApicRegister::lvt_timer, 0xEC, bus(0));
        write(apic, ApicRegister::timer_divide, 0b1011, bus(0));
        write(apic, ApicRegister::timer_initial_count, 10, bus(0));
        const auto effect = write(apic, which, 0, bus(10));
        EXPECT_TRUE(effect.recheck_interrupts) << apic_offset(which);
        EXPECT_TRUE(effect.timer_changed);
        EXPECT_TRUE(apic.acknowledge(0xEC, true));
    }
}

TEST(VirtualLocalApic, TellsOfADividerThatMovesTheDeadline) {
    Enabled fixture;
    auto& apic = fixture.apic;
    EXPECT_FALSE(write(apic, ApicRegister::timer_divide, 0b1011, bus(0)).timer_changed)
        << "nothing runs";
    write(apic, ApicRegister::lvt_timer, 0xEC, bus(0));
    write(apic, ApicRegister::timer_initial_count, 10, bus(0));
    EXPECT_FALSE(write(apic, ApicRegister::timer_divide, 0b1011, bus(5)).timer_changed)
        << "as it was";
    EXPECT_TRUE(write(apic, ApicRegister::timer_divide, 0, bus(5)).timer_changed);
    EXPECT_EQ(apic.timer_deadline()->at, 15U);
}

TEST(VirtualLocalApic, RunsToATscDeadline) {
    Enabled fixture;
    auto& apic = fixture.apic;
    EXPECT_TRUE(apic.write_tsc_deadline(7000, start));
    EXPECT_EQ(apic.read_tsc_deadline(), 0U) << "not in this mode";
    write(apic, ApicRegister::lvt_timer, apic_lvt::timer_tsc_deadline | 0xEC);
    const auto effect = apic.write_tsc_deadline(7000, start);
    ASSERT_TRUE(effect);
    EXPECT_TRUE(effect->timer_changed);
    EXPECT_EQ(apic.timer_deadline(), (ApicTimerDeadline{ApicTimerDeadline::Clock::tsc, 7000}));
    EXPECT_TRUE(apic.timer_expire({.bus = 0, .tsc = 7001}));
    EXPECT_EQ(apic.read_tsc_deadline(), 0U);
    EXPECT_EQ(apic.deliverable(), 0xEC);
}

TEST(VirtualLocalApic, TakesAReservedTimerModeForOneShot) {
    Enabled fixture;
    write(fixture.apic, ApicRegister::lvt_timer, 0x600EC);
    EXPECT_EQ(read(fixture.apic, ApicRegister::lvt_timer), 0xECU);
}

/// Something in every register.
void fill(VirtualLocalApic& apic) {
    write(apic, ApicRegister::spurious_vector, 0x3FD);
    write(apic, ApicRegister::logical_destination, 0x08000000);
    write(apic, ApicRegister::destination_format, 0);
    write(apic, ApicRegister::lvt_timer, apic_lvt::timer_periodic | 0xEC);
    write(apic, ApicRegister::lvt_thermal, 0x200);
    write(apic, ApicRegister::lvt_performance, 0x400);
    write(apic, ApicRegister::lvt_pin0, 0x700);
    write(apic, ApicRegister::lvt_pin1, 0x1A400);
    write(apic, ApicRegister::lvt_error, 0xFE);
    write(apic, ApicRegister::timer_divide, 0b1000);
    write(apic, ApicRegister::timer_initial_count, 1000);
    write(apic, ApicRegister::interrupt_command_high, 0x02000000);
    write(apic, ApicRegister::interrupt_command_low, 0x4041);
    EXPECT_TRUE(apic.accept(0x05, false)) << "raises the error interrupt";
    EXPECT_TRUE(apic.accept(0x99, true));
    EXPECT_TRUE(apic.acknowledge(0x99));
    EXPECT_TRUE(apic.accept(0xC1, true));
    EXPECT_TRUE(apic.accept(0x35, false));
    apic.set_tpr(0x12);
}

TEST(VirtualLocalApic, SavesAndRestoresTheControllerState) {
    Enabled source;
    fill(source.apic);
    const ApicTime later = bus(start.bus + 3200);
    const LocalApicState state = source.apic.save(later);
    EXPECT_EQ(state.id, 3U << 24);
    EXPECT_EQ(state.timer_current_count, 900U);
    EXPECT_EQ(state.pending_errors, apic_error::received_illegal_vector);

    VirtualLocalApic target{3, false};
    const ApicTime elsewhere = bus(77);
    ASSERT_TRUE(target.restore(state, elsewhere));
    EXPECT_EQ(target.save(elsewhere), state);
    EXPECT_EQ(target.timer_deadline()->at, 77U + 900 * 32);
    EXPECT_EQ(target.deliverable(), 0xFE);
    EXPECT_TRUE(target.matches_logical(0x08));
    EXPECT_EQ(target.tpr(), 0) << "travels as CR8";
}

TEST(VirtualLocalApic, SavesAndRestoresTheRegisterPage) {
    Enabled source;
    fill(source.apic);
    std::array<std::byte, VirtualLocalApic::register_page_size> page{};
    source.apic.save(page, start);
    EXPECT_EQ(page[0x23], std::byte{3});
    EXPECT_EQ(page[0x80], std::byte{0x12});
    EXPECT_EQ(page[0x100 + 4 * 16 + 3], std::byte{0x02}) << "0x99 in service";
    EXPECT_EQ(page[0x380], std::byte{0xE8});
    VirtualLocalApic target{3, false};
    ASSERT_TRUE(target.restore(page, start));
    std::array<std::byte, VirtualLocalApic::register_page_size> again{};
    target.save(again, start);
    EXPECT_EQ(again, page);
    EXPECT_EQ(target.tpr(), 0x12);
}

TEST(VirtualLocalApic, SavesAndRestoresAnX2apic) {
    Extended source;
    EXPECT_TRUE(source.apic.write_msr(0x830, 0x1'0000'4040, start));
    const LocalApicState state = source.apic.save(start);
    EXPECT_EQ(state.id, 3U);
    EXPECT_EQ(state.logical_destination, 8U);
    EXPECT_EQ(state.command_high, 1U);
    VirtualLocalApic target{3, false};
    ASSERT_TRUE(target.restore_base(source.apic.base()));
    ASSERT_TRUE(target.restore(state, start));
    EXPECT_EQ(target.save(start), state);
}

TEST(VirtualLocalApic, RestoresWhatAnXapicShowsOfALongId) {
    VirtualLocalApic source{0x123, false};
    const LocalApicState state = source.save(start);
    EXPECT_EQ(state.id, 0x23000000U);
    VirtualLocalApic target{0x123, false};
    EXPECT_TRUE(target.restore(state, start));
}

TEST(VirtualLocalApic, KeepsTheCountOfATimerThatRunsToADeadline) {
    Enabled source;
    write(source.apic, ApicRegister::timer_initial_count, 1000);
    write(source.apic, ApicRegister::lvt_timer, apic_lvt::timer_tsc_deadline | 0xEC);
    EXPECT_TRUE(source.apic.write_tsc_deadline(7000, start));
    const LocalApicState state = source.apic.save(start);
    Enabled target;
    ASSERT_TRUE(target.apic.restore(state, start));
    EXPECT_EQ(target.apic.save(start), state);
    ASSERT_TRUE(source.apic.restore(state, start));
    EXPECT_EQ(source.apic.read_tsc_deadline(), 7000U) << "it isn't part of the state";
}

TEST(VirtualLocalApic, RefusesAStateThatCannotBe) {
    Enabled source;
    fill(source.apic);
    const LocalApicState good = source.apic.save(start);
    const auto refused = [&good](auto change) -> ApicRestoreError {
        LocalApicState bad = good;
        change(bad);
        VirtualLocalApic target{3, false};
        const LocalApicState before = target.save(start);
        const auto result = target.restore(bad, start);
        EXPECT_FALSE(result);
        EXPECT_EQ(target.save(start), before) << "nothing changes";
        return result ? ApicRestoreError{} : result.error();
    };
    using Error = ApicRestoreError;
    EXPECT_EQ(refused([](auto& state) { state.id = 4U << 24; }), Error::wrong_id);
    EXPECT_EQ(refused([](auto& state) { state.in_service[0] = 1; }), Error::illegal_vector);
    EXPECT_EQ(refused([](auto& state) { state.trigger_mode[0] = 0x8000; }), Error::illegal_vector);
    EXPECT_EQ(refused([](auto& state) { state.interrupt_request[0] = 2; }), Error::illegal_vector);
    EXPECT_EQ(refused([](auto& state) { state.timer_current_count = 1001; }), Error::illegal_timer);
    EXPECT_EQ(refused([](auto& state) { state.lvt_timer = 0x600EC; }), Error::illegal_timer);
    EXPECT_EQ(refused([](auto& state) { state.lvt_timer = 0x400EC; }), Error::illegal_timer);
}

TEST(VirtualLocalApic, CutsReservedBitsOfARestoredState) {
    LocalApicState state;
    state.id = 3;
    state.spurious_vector = 0xFFFFFFFF;
    state.lvt_timer = 0xFFF9FFFF;
    state.lvt_pin0 = 0xFFFFFFFF;
    state.timer_divide = 0xFFFFFFFF;
    state.command_low = 0xFFFFFFFF;
    VirtualLocalApic apic{3, false};
    ASSERT_TRUE(apic.restore(state, start));
    EXPECT_EQ(read(apic, ApicRegister::spurious_vector), 0x3FFU);
    EXPECT_EQ(read(apic, ApicRegister::lvt_timer), 0x100FFU);
    EXPECT_EQ(read(apic, ApicRegister::lvt_pin0), 0x1A7FFU);
    EXPECT_EQ(read(apic, ApicRegister::timer_divide), 0xBU);
    EXPECT_EQ(read(apic, ApicRegister::interrupt_command_low), 0xCCFFFU);
}

TEST(VirtualLocalApic, LosesNothingThatOthersSendWhileItRuns) {
    Enabled fixture;
    auto& apic = fixture.apic;
    constexpr unsigned rounds = 3000;
    constexpr unsigned senders = 2;
    std::array<std::atomic<unsigned>, senders> taken{};
    std::vector<std::jthread> threads;
    for (unsigned sender = 0; sender < senders; ++sender) {
        threads.emplace_back([&apic, &taken, sender] {
            const std::uint8_t vector = std::uint8_t(0x41 + sender);
            for (unsigned round = 0; round < rounds; ++round) {
                while (!apic.accept(vector, sender == 0)) {
                    std::this_thread::yield();
                }
                while (taken[sender].load() <= round) {
                    std::this_thread::yield();
                }
            }
        });
    }
    unsigned served = 0;
    while (served < rounds * senders) {
        const auto vector = apic.deliverable();
        if (!vector) {
            std::this_thread::yield();
            continue;
        }
        ASSERT_TRUE(apic.acknowledge(*vector));
        EXPECT_EQ(apic.eoi(), (EndOfInterrupt{*vector, *vector == 0x41}));
        ++taken[*vector - 0x41U];
        ++served;
    }
}

TEST(VectorBitmap, FindsTheHighest) {
    VectorBitmap bitmap;
    EXPECT_FALSE(bitmap.highest());
    for (unsigned vector = 0; vector < 256; ++vector) {
        EXPECT_TRUE(bitmap.insert(std::uint8_t(vector)));
        EXPECT_FALSE(bitmap.insert(std::uint8_t(vector)));
        EXPECT_EQ(bitmap.highest(), vector);
        EXPECT_TRUE(bitmap.contains(std::uint8_t(vector)));
        EXPECT_EQ(bitmap.load_register(vector / 32) >> (vector % 32), 1U);
    }
    for (unsigned vector = 255; vector > 0; --vector) {
        EXPECT_TRUE(bitmap.erase(std::uint8_t(vector)));
        EXPECT_FALSE(bitmap.erase(std::uint8_t(vector)));
        EXPECT_EQ(bitmap.highest(), vector - 1);
    }
    bitmap.store_register(5, 0x80000001);
    EXPECT_EQ(bitmap.highest(), 191);
    EXPECT_EQ(bitmap.load_register(4), 0U);
    bitmap.store_register(5, 1);
    EXPECT_EQ(bitmap.highest(), 160);
    bitmap.clear();
    EXPECT_FALSE(bitmap.highest());
}

} // namespace
} // namespace hypervisor
