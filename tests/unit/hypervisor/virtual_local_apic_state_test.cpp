// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/hypervisor/virtual_local_apic_fixture.hpp"

#include <array>
#include <gtest/gtest.h>

namespace hypervisor {
namespace {

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
    EXPECT_EQ(state.destination_format, 0U) << "there is no such register";
    EXPECT_EQ(state.command_high, 1U);
    VirtualLocalApic target{3, false};
    ASSERT_TRUE(target.restore_base(source.apic.base()));
    ASSERT_TRUE(target.restore(state, start));
    EXPECT_EQ(target.save(start), state);
    EXPECT_TRUE(target.write_base(apic_base::address));
    EXPECT_TRUE(target.write_base(base_xapic));
    EXPECT_EQ(read(target, ApicRegister::destination_format), 0xFFFFFFFFU);
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

} // namespace
} // namespace hypervisor
