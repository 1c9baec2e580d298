// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/hypervisor/virtual_local_apic_fixture.hpp"

#include <gtest/gtest.h>

namespace hypervisor {
namespace {

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
    ASSERT_TRUE(apic.write_base(apic_base::address));
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

} // namespace
} // namespace hypervisor
