// SPDX-License-Identifier: Apache-2.0
// What the hypervisor refuses, to a child and to its parent, and stands.
#include "hv/error.hpp"
#include "tests/guests/guest_machine.hpp"

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <gtest/gtest.h>
#include <thread>

#define GUEST(name)                               \
    extern "C" const std::uint8_t guest_##name[]; \
    extern "C" const std::uint8_t guest_##name##_end[];
GUEST(hypercall)
GUEST(protected_mode)
GUEST(reads_msr)
GUEST(two_clocks)
#undef GUEST
#define CODE(name) (Code{guest_##name, guest_##name##_end})

namespace croft::guests {

namespace {

constexpr std::uint32_t vp_self = 0xfffffffe;

TEST(Refusal, RegistersByHypercallAreNotForAChild) {
    constexpr std::uint64_t output_gpa = GuestMachine::data_gpa + 0x1000;
    constexpr std::uint64_t one_rep = std::uint64_t{1} << HV_HYPERCALL_REP_COUNT_SHIFT;
    for (const auto code : {HVCALL_GET_VP_REGISTERS, HVCALL_SET_VP_REGISTERS}) {
        for (const std::uint32_t vp : {0u, 1u, vp_self}) {
            GuestMachine machine{4u << 20, 2};
            machine.load(CODE(hypercall));
            machine.start_in_long_mode();
            machine.store<std::uint64_t>(GuestMachine::data_gpa, HV_PARTITION_ID_SELF);
            machine.store<std::uint32_t>(GuestMachine::data_gpa + 8, vp);
            machine.store<std::uint32_t>(GuestMachine::data_gpa + 16, HV_X64_REGISTER_RIP);
            machine.set(HV_X64_REGISTER_RBX, static_cast<std::uint64_t>(code) | one_rep);
            machine.set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
            machine.set(HV_X64_REGISTER_RSI, output_gpa);
            EXPECT_EQ(machine.report(), HV_STATUS_ACCESS_DENIED) << code << ' ' << vp;
        }
    }
}

/// Neither the key nor what it opens.
TEST(Refusal, TheTraceOfExitsIsNotForAChild) {
    for (const auto code : {HVCALL_GET_PARTITION_PROPERTY, HVCALL_GET_PARTITION_PROPERTY_EX}) {
        GuestMachine machine;
        machine.load(CODE(hypercall));
        machine.start_in_long_mode();
        machine.store<std::uint64_t>(GuestMachine::data_gpa, HV_PARTITION_ID_SELF);
        machine.store<std::uint32_t>(GuestMachine::data_gpa + 8, HV_PARTITION_PROPERTY_EXIT_TRACE);
        machine.set(HV_X64_REGISTER_RBX, static_cast<std::uint64_t>(code));
        machine.set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
        machine.set(HV_X64_REGISTER_RSI, GuestMachine::data_gpa + 0x1000);
        EXPECT_EQ(machine.report(), HV_STATUS_ACCESS_DENIED) << code;
    }
    GuestMachine machine;
    machine.load(CODE(reads_msr));
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, HV_X64_MSR_EXIT_TRACE_KEY);
    EXPECT_EQ(machine.report(), std::nullopt) << "it has no handler for its #GP";
    EXPECT_EQ(machine.message().header.message_type, HVMSG_UNRECOVERABLE_EXCEPTION);
}

/// Each would be a fault in the hypervisor when it entered the guest, or made ready to.
TEST(Refusal, RegistersTakeNoValueThatTheProcessorRefuses) {
    constexpr std::uint64_t hole = 1ull << 47;
    GuestMachine machine;
    machine.load(CODE(protected_mode));
    machine.store<std::uint32_t>(GuestMachine::data_gpa, 40);
    machine.store<std::uint32_t>(GuestMachine::data_gpa + 4, 2);
    machine.start_in_protected_mode();
    struct Case {
        std::uint32_t name;
        std::uint64_t value;
    };
    for (const Case& one : {Case{HV_X64_REGISTER_XSS, 1ull << 62}, Case{HV_X64_REGISTER_XFEM, 2},
             Case{HV_X64_REGISTER_TSC_AUX, 1ull << 32}, Case{HV_X64_REGISTER_LSTAR, hole},
             Case{HV_X64_REGISTER_KERNEL_GS_BASE, hole}, Case{HV_X64_REGISTER_PAT, 2},
             Case{HV_X64_REGISTER_CR0, 1ull << 32}, Case{HV_X64_REGISTER_CR3, 1ull << 62},
             Case{HV_X64_REGISTER_CR4, 1ull << 31}, Case{HV_X64_REGISTER_EFER, 1ull << 20},
             Case{HV_X64_REGISTER_DR6, 1ull << 32}, Case{HV_X64_REGISTER_DR7, 1ull << 32},
             Case{HV_X64_REGISTER_RFLAGS, 1ull << 32}}) {
        EXPECT_THROW(machine.set(one.name, one.value), hv::HypervisorError) << one.name;
    }
    hv_register_assoc control = hv::register_name(HV_X64_REGISTER_XMM_CONTROL_STATUS);
    machine.vp().get_registers({&control, 1});
    control.value.reg128.high = 0xffffffff; // MXCSR is its lower half
    EXPECT_THROW(machine.vp().set_registers({&control, 1}), hv::HypervisorError);
    hv_x64_segment_register fs{};
    fs.base = hole;
    const hv_register_assoc segment = hv::register_value(HV_X64_REGISTER_FS, fs);
    EXPECT_THROW(machine.vp().set_registers({&segment, 1}), hv::HypervisorError);
    auto area = machine.vp().get_state(hv::VpState::xsave);
    area[27] = 0x80; // MXCSR's highest bit
    EXPECT_THROW(machine.vp().set_state(hv::VpState::xsave, area), hv::HypervisorError);
    EXPECT_EQ(machine.report(), 42u);
}

TEST(Refusal, APartitionThatIsNotInitializedHasNoPages) {
    const auto hypervisor = hv::open_hypervisor();
    const auto partition = hypervisor->create_partition(hv::PartitionSettings{});
    EXPECT_THROW(
        (void)partition->page_access(hv::PageAccess::dirty, hv::PageAccessUpdate::keep, 0, 16),
        hv::HypervisorError);
}

TEST(Time, ThatIsSetBackIsSoOnThePageToo) {
    constexpr auto pause = std::chrono::milliseconds{500};
    constexpr std::int32_t tolerance =
        2'000'000; // 200 ms: between the two a guest may have to wait
    GuestMachine machine;
    machine.load(CODE(two_clocks));
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
    const auto difference = [&machine] {
        const auto told = machine.report();
        EXPECT_TRUE(told.has_value());
        return static_cast<std::int32_t>(told.value_or(0));
    };
    EXPECT_LT(std::abs(difference()), tolerance);
    const std::uint64_t then = machine.partition().property(HV_PARTITION_PROPERTY_REFERENCE_TIME);
    std::this_thread::sleep_for(pause);
    machine.partition().set_property(HV_PARTITION_PROPERTY_REFERENCE_TIME, then);
    EXPECT_LT(std::abs(difference()), tolerance);
}

} // namespace

} // namespace croft::guests
