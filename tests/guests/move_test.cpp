// SPDX-License-Identifier: Apache-2.0
// A running guest's whole state is taken, its partition ends, and another one goes on with it: as
// when a virtual machine moves to another host.
#include "abi/msr.h"
#include "abi/synic.h"
#include "tests/guests/guest_code.hpp"
#include "tests/guests/guest_machine.hpp"

#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <utility>
#include <vector>

GUEST(handles_message_2)
GUEST(handles_message_4)
GUEST(handles_vector)
GUEST(takes_interrupts)
GUEST(tells_time)

namespace croft::guests {

namespace {

constexpr std::size_t memory_size = 4u << 20;

/// In the order in which they are set: the counter before reference time, pages before what is in
/// them, and what lets interrupts come last.
std::vector<std::uint32_t> register_names() {
    std::vector<std::uint32_t> names{HV_X64_REGISTER_TSC, HV_X64_REGISTER_CR0, HV_X64_REGISTER_CR2,
        HV_X64_REGISTER_CR3, HV_X64_REGISTER_CR4, HV_X64_REGISTER_CR8, HV_X64_REGISTER_EFER,
        HV_X64_REGISTER_XFEM, HV_X64_REGISTER_DR0, HV_X64_REGISTER_DR1, HV_X64_REGISTER_DR2,
        HV_X64_REGISTER_DR3, HV_X64_REGISTER_DR6, HV_X64_REGISTER_DR7,
        HV_X64_REGISTER_KERNEL_GS_BASE, HV_X64_REGISTER_APIC_BASE, HV_X64_REGISTER_PAT,
        HV_X64_REGISTER_SYSENTER_CS, HV_X64_REGISTER_SYSENTER_EIP, HV_X64_REGISTER_SYSENTER_ESP,
        HV_X64_REGISTER_STAR, HV_X64_REGISTER_LSTAR, HV_X64_REGISTER_CSTAR, HV_X64_REGISTER_SFMASK,
        HV_X64_REGISTER_TSC_AUX, HV_X64_REGISTER_MSR_MTRR_DEF_TYPE, HV_REGISTER_GUEST_OS_ID,
        HV_X64_REGISTER_HYPERCALL, HV_REGISTER_REFERENCE_TSC, HV_REGISTER_VP_ASSIST_PAGE,
        HV_REGISTER_SIMP, HV_REGISTER_SIEFP, HV_REGISTER_SCONTROL, HV_REGISTER_PENDING_INTERRUPTION,
        HV_REGISTER_INTERRUPT_STATE, HV_REGISTER_PENDING_EVENT0,
        HV_REGISTER_INTERNAL_ACTIVITY_STATE};
    const auto add = [&names](std::uint32_t first, std::uint32_t last) {
        for (std::uint32_t name = first; name <= last; ++name) {
            names.push_back(name);
        }
    };
    add(HV_X64_REGISTER_RAX, HV_X64_REGISTER_RFLAGS);
    add(HV_X64_REGISTER_ES, HV_X64_REGISTER_TR);
    add(HV_X64_REGISTER_IDTR, HV_X64_REGISTER_GDTR);
    add(HV_REGISTER_SINT0, HV_REGISTER_SINT15);
    add(HV_X64_REGISTER_MSR_MTRR_FIX64K00000, HV_X64_REGISTER_MSR_MTRR_FIX4KF8000);
    return names;
}

constexpr std::array state_kinds{hv::VpState::xsave, hv::VpState::message_page,
    hv::VpState::event_flags_page, hv::VpState::synthetic_timers, hv::VpState::local_apic};

struct Image {
    std::vector<std::uint8_t> memory;
    std::vector<hv_register_assoc> registers;
    std::vector<std::vector<std::uint8_t>> states;
    std::uint64_t reference_time = 0;
};

/// With its time standing still.
Image take(GuestMachine& machine) {
    Image image;
    machine.partition().set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 1);
    for (const std::uint32_t name : register_names()) {
        image.registers.push_back(hv::register_name(name));
    }
    machine.vp().get_registers(image.registers);
    for (const hv::VpState kind : state_kinds) {
        image.states.push_back(machine.vp().get_state(kind));
    }
    image.reference_time = machine.partition().property(HV_PARTITION_PROPERTY_REFERENCE_TIME);
    image.memory.assign(machine.memory(), machine.memory() + memory_size);
    return image;
}

/// Puts it into another machine, whose time still stands.
void put(GuestMachine& machine, const Image& image) {
    machine.partition().set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 1);
    std::memcpy(machine.memory(), image.memory.data(), image.memory.size());
    machine.vp().set_registers(image.registers);
    machine.partition().set_property(HV_PARTITION_PROPERTY_REFERENCE_TIME, image.reference_time);
    for (std::size_t i = 0; i < state_kinds.size(); ++i) {
        machine.vp().set_state(state_kinds.at(i), image.states[i]);
    }
}

void expect_same(const Image& one, const Image& other) {
    EXPECT_EQ(one.reference_time, other.reference_time);
    for (std::size_t i = 0; i < one.registers.size(); ++i) {
        EXPECT_EQ(std::memcmp(&one.registers[i].value, &other.registers[i].value,
                      sizeof(hv_register_value)),
            0)
            << std::hex << one.registers[i].name;
    }
    for (std::size_t i = 0; i < one.states.size(); ++i) {
        EXPECT_EQ(one.states[i], other.states[i]) << i;
    }
}

void go_on(GuestMachine& machine) {
    machine.partition().set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 0);
}

/// A guest with a message that it has not been told of yet, an interrupt that it has not taken, and
/// a timer that is due later.
TEST(Move, AGuestGoesOnWithAllThatWasUnderWay) {
    constexpr std::uint32_t message_type = 77;
    constexpr std::uint64_t due = 2'000'000; // 200 ms
    auto first = std::make_unique<GuestMachine>(memory_size);
    first->load(CODE(takes_interrupts));
    first->start_in_long_mode();
    first->handle(0x40, CODE(handles_message_2));
    first->handle(0x42, CODE(handles_message_4));
    first->handle(0x43, CODE(handles_vector));
    const std::vector<std::pair<std::uint64_t, std::uint64_t>> msrs{{0x80f, 0x1ff},
        {HV_X64_MSR_SIMP, 0xa001}, {HV_X64_MSR_SIEFP, 0xb001}, {HV_X64_MSR_SCONTROL, 1},
        {HV_X64_MSR_SINT0 + 2, 0x40}, {HV_X64_MSR_SINT0 + 4, 0x42}, {0, 0}};
    std::uint64_t at = GuestMachine::data_gpa;
    for (const auto& [number, value] : msrs) {
        first->store(at, number);
        first->store(at + 8, value);
        at += 16;
    }
    first->set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
    ASSERT_EQ(first->report(), 1u);
    first->set(HV_X64_REGISTER_DR1, 0x1234);
    first->set(HV_X64_REGISTER_STAR, 0x5678);
    hv_register_assoc xmm = hv::register_name(HV_X64_REGISTER_XMM0 + 7);
    xmm.value.reg128 = {0x1111, 0x2222};
    first->vp().set_registers(std::array{xmm});

    hv_message message{};
    message.header.message_type = message_type;
    message.header.payload_size = 16;
    message.payload[0] = 11;
    message.payload[8] = 12;
    ASSERT_TRUE(first->partition().post_message(0, 2, message));
    first->partition().assert_interrupt({.vector = 0x43});
    const std::uint64_t now = first->partition().property(HV_PARTITION_PROPERTY_REFERENCE_TIME);
    first->set(HV_REGISTER_STIMER0_CONFIG + 1, now + due);
    first->set(HV_REGISTER_STIMER0_CONFIG, 1 | 4u << 16);

    const Image image = take(*first);
    first.reset();
    GuestMachine second{memory_size};
    put(second, image);
    expect_same(take(second), image);
    go_on(second);

    EXPECT_EQ(second.report(), 0x43u) << "the higher vector first";
    std::vector<std::uint32_t> said;
    for (unsigned i = 0; i < 4; ++i) {
        said.push_back(second.report().value_or(~0u));
    }
    EXPECT_EQ(said, (std::vector<std::uint32_t>{message_type, 11, 12, 0}));
    EXPECT_EQ(second.report(), std::uint32_t{HVMSG_TIMER_EXPIRED});
    EXPECT_EQ(second.report(), 0u) << "the timer";
    EXPECT_EQ(second.report(), static_cast<std::uint32_t>(now + due));
    EXPECT_GE(second.partition().property(HV_PARTITION_PROPERTY_REFERENCE_TIME), now + due);
    std::array got{hv::register_name(HV_X64_REGISTER_XMM0 + 7)};
    second.vp().get_registers(got);
    EXPECT_EQ(got[0].value.reg128.high, 0x2222u);
}

/// The clocks that a guest reads go on from where they stood, and still agree.
TEST(Move, ClocksGoOn) {
    constexpr std::uint64_t page_gpa = 0x6000;
    const auto read = [](GuestMachine& machine) {
        EXPECT_EQ(machine.report(), 1u);
        return std::array{machine.get(HV_X64_REGISTER_R8), machine.get(HV_X64_REGISTER_RBX),
            machine.get(HV_X64_REGISTER_R9), machine.get(HV_X64_REGISTER_RBP)};
    };
    auto first = std::make_unique<GuestMachine>(memory_size);
    first->load(CODE(tells_time));
    first->start_in_long_mode();
    first->set(HV_X64_REGISTER_RDI, page_gpa);
    first->set(HV_X64_REGISTER_TSC, std::uint64_t{7} << 40); // as a guest's that has run for long
    (void)read(*first);
    const auto [counter, before, page, after] = read(*first);
    const Image image = take(*first);
    const std::uint64_t stood_at = first->get(HV_X64_REGISTER_TSC);
    first.reset();

    GuestMachine second{memory_size};
    put(second, image);
    EXPECT_EQ(second.get(HV_X64_REGISTER_TSC), stood_at);
    EXPECT_EQ(
        second.partition().property(HV_PARTITION_PROPERTY_REFERENCE_TIME), image.reference_time);
    go_on(second);
    const auto [counter2, before2, page2, after2] = read(second);
    EXPECT_GE(counter2, stood_at);
    EXPECT_LT(counter2 - counter, std::uint64_t{1} << 40);
    EXPECT_GE(before2, image.reference_time);
    EXPECT_GE(before2, after);
    EXPECT_GE(page2, before2) << "the page of time agrees with the register";
    EXPECT_LE(page2, after2);
    EXPECT_GE(page2, page);
    EXPECT_GE(before2, before);
}

} // namespace

} // namespace croft::guests
