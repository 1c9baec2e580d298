// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/hypervisor/virtual_local_apic_fixture.hpp"

#include <array>
#include <atomic>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

namespace hypervisor {
namespace {

using Mode = VirtualLocalApic::Mode;

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
