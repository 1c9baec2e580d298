// SPDX-License-Identifier: Apache-2.0
// What VMMs decide about a child and look at: CPUID, time, registers, the forms of its state.
#include "hv/error.hpp"
#include "tests/guests/guest_code.hpp"
#include "tests/guests/guest_machine.hpp"

#include <chrono>
#include <gtest/gtest.h>
#include <thread>

GUEST(counts)
GUEST(cpuid)
GUEST(hypercall)
GUEST(pauses)
GUEST(says_error_code)
GUEST(says_nmi)
GUEST(tells_time)
GUEST(write)

namespace croft::guests {

namespace {

using Clock = std::chrono::steady_clock;

/// A guest that asks for CPUID.
class Asker {
public:
    Asker() {
        machine.load(CODE(cpuid));
        machine.start_in_long_mode();
    }
    std::array<std::uint32_t, 4> ask(std::uint32_t leaf, std::uint32_t subleaf = 0) {
        machine.set(HV_X64_REGISTER_RDI, leaf);
        machine.set(HV_X64_REGISTER_RSI, subleaf);
        EXPECT_EQ(machine.report(), 1u);
        std::array<std::uint32_t, 4> result{};
        for (std::uint32_t i = 0; i < result.size(); ++i) {
            result.at(i) = static_cast<std::uint32_t>(machine.get(HV_X64_REGISTER_R8 + i));
        }
        return result;
    }

    GuestMachine machine;
};

constexpr std::array<std::uint32_t, 4> all_bits{~0u, ~0u, ~0u, ~0u};

TEST(Cpuid, IsWhatTheParentHasRegistered) {
    Asker asker;
    const auto own = asker.ask(7);
    asker.machine.partition().register_cpuid(
        {.leaf = 7, .vp = 0, .value = {1, 0x20, 0, 0}, .mask = {~0u, 0xf0, 0, 0}});
    const auto shaped = asker.ask(7);
    EXPECT_EQ(shaped[0], 1u);
    EXPECT_EQ(shaped[1], (own[1] & ~0xf0u) | 0x20u);
    EXPECT_EQ(shaped[2], own[2]);
    EXPECT_EQ(asker.ask(7), shaped) << "from memory";
    // One for all processors comes first, and one of a subleaf last.
    asker.machine.partition().register_cpuid({.leaf = 7, .value = {9, 9, 9, 9}, .mask = all_bits});
    asker.machine.partition().register_cpuid(
        {.leaf = 7, .subleaf = 3, .vp = 0, .value = {}, .mask = {0, 0, 0, ~0u}});
    EXPECT_EQ(asker.ask(7), (std::array<std::uint32_t, 4>{1, 0x29, 9, 9}));
    EXPECT_EQ(asker.ask(7, 3), (std::array<std::uint32_t, 4>{1, 0x29, 9, 0}));
    const auto told = asker.machine.vp().cpuid(7, 3);
    EXPECT_EQ(told, (std::vector<std::uint32_t>{1, 0x29, 9, 0}));
}

TEST(Cpuid, WhatFollowsTheProcessorsStateStaysItsOwn) {
    constexpr std::uint32_t osxsave = 1u << 27;
    constexpr std::uint64_t cr4_osxsave = 1u << 18;
    Asker asker;
    asker.machine.partition().register_cpuid(
        {.leaf = 1, .vp = 0, .value = all_bits, .mask = all_bits});
    asker.machine.partition().register_cpuid(
        {.leaf = 0xd, .subleaf = 0, .vp = 0, .value = all_bits, .mask = {0, ~0u, 0, 0}});
    EXPECT_EQ(asker.ask(1)[1] >> 24, 0u) << "its APIC id";
    EXPECT_EQ(asker.ask(1)[2] & osxsave, 0u);
    EXPECT_EQ(asker.ask(0xd)[1], 576u);
    asker.machine.set(HV_X64_REGISTER_CR4, asker.machine.get(HV_X64_REGISTER_CR4) | cr4_osxsave);
    asker.machine.set(HV_X64_REGISTER_XFEM, 7);
    EXPECT_NE(asker.ask(1)[2] & osxsave, 0u);
    EXPECT_EQ(asker.ask(0xd)[1], 576u + 256u);
}

TEST(Cpuid, ShowsTheApicIdThatTheParentGives) {
    Asker asker;
    asker.machine.set(HV_X64_REGISTER_INITIAL_APIC_ID, 6);
    EXPECT_EQ(asker.machine.get(HV_X64_REGISTER_APIC_ID), 6u);
    EXPECT_EQ(asker.ask(1)[1] >> 24, 6u);
    EXPECT_EQ(asker.ask(0xb)[3], 6u);
    EXPECT_THROW(asker.machine.set(HV_X64_REGISTER_INITIAL_APIC_ID, 0xff), hv::HypervisorError);
}

/// A guest that tells the time.
class Teller {
public:
    static constexpr std::uint64_t page_gpa = 0x6000;

    explicit Teller(std::uint32_t processors = 1) : machine{4u << 20, processors} {
        machine.load(CODE(tells_time));
        machine.start_in_long_mode();
        machine.set(HV_X64_REGISTER_RDI, page_gpa);
        tell();
    }
    void tell() {
        ASSERT_EQ(machine.report(), 1u);
        counter = machine.get(HV_X64_REGISTER_R8);
        before = machine.get(HV_X64_REGISTER_RBX);
        after = machine.get(HV_X64_REGISTER_RBP);
        page_time = machine.get(HV_X64_REGISTER_R9);
        sequence = machine.get(HV_X64_REGISTER_R10);
    }
    void expect_page_to_agree() {
        EXPECT_NE(sequence, 0u);
        EXPECT_GE(page_time, before);
        EXPECT_LE(page_time, after);
    }

    GuestMachine machine;
    std::uint64_t counter = 0;
    std::uint64_t before = 0;
    std::uint64_t after = 0;
    std::uint64_t page_time = 0;
    std::uint64_t sequence = 0;
};

TEST(Time, StandsStillAndGoesOnWhereItWas) {
    using namespace std::chrono;
    Teller teller;
    hv::Partition& partition = teller.machine.partition();
    const auto begin = Clock::now();
    teller.tell();
    const std::uint64_t first = teller.before;
    partition.set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 1);
    const auto frozen = Clock::now();
    EXPECT_EQ(partition.property(HV_PARTITION_PROPERTY_TIME_FREEZE), 1u);
    const std::uint64_t tsc = teller.machine.get(HV_X64_REGISTER_TSC);
    const std::uint64_t reference = partition.property(HV_PARTITION_PROPERTY_REFERENCE_TIME);
    std::this_thread::sleep_for(milliseconds{500}); // what is measured, not waited for
    EXPECT_EQ(teller.machine.get(HV_X64_REGISTER_TSC), tsc);
    EXPECT_EQ(partition.property(HV_PARTITION_PROPERTY_REFERENCE_TIME), reference);
    const auto thawed = Clock::now();
    partition.set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 0);
    teller.tell();
    const auto end = Clock::now();
    EXPECT_GE(teller.counter, tsc);
    teller.expect_page_to_agree();
    const double went = static_cast<double>(teller.before - first) * 1e-7;
    const double most = duration<double>((end - begin) - (thawed - frozen)).count();
    EXPECT_LE(went, 1.02 * most + 0.001);
}

TEST(Time, NoProcessorRunsWhileItStandsStill) {
    GuestMachine machine;
    machine.load(CODE(counts));
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
    std::optional<std::uint32_t> said;
    std::jthread runner{[&] {
        said = machine.report();
    }};
    const auto count = [&machine] {
        return *reinterpret_cast<const volatile std::uint64_t*>(
            machine.memory() + GuestMachine::data_gpa);
    };
    while (count() < 1000) {
        std::this_thread::yield();
    }
    machine.partition().set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 1);
    const std::uint64_t stopped = count();
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
    EXPECT_EQ(count(), stopped);
    machine.partition().set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 0);
    while (count() == stopped) {
        std::this_thread::yield();
    }
    machine.store(GuestMachine::data_gpa + 8, std::uint64_t{1});
    runner.join();
    EXPECT_EQ(said, 1u);
}

TEST(Time, TheCounterIsSetAndReferenceTimeGoesOn) {
    constexpr std::uint64_t value = std::uint64_t{5} << 40;
    Teller teller;
    const std::uint64_t first = teller.after;
    teller.machine.set(HV_X64_REGISTER_TSC, value);
    teller.tell();
    EXPECT_GE(teller.counter, value);
    EXPECT_LT(teller.counter, value + (std::uint64_t{1} << 40));
    EXPECT_GE(teller.before, first);
    EXPECT_LT(teller.before, first + 600'000'000) << "a minute";
    teller.expect_page_to_agree();
    teller.machine.set(HV_X64_REGISTER_TSC, 0); // as a reset has it
    const std::uint64_t second = teller.after;
    teller.tell();
    EXPECT_LT(teller.counter, value);
    EXPECT_GE(teller.before, second);
    teller.expect_page_to_agree();
}

TEST(Time, ThePageIsVoidWhileCountersDiffer) {
    constexpr std::uint64_t value = std::uint64_t{3} << 40;
    Teller teller{2};
    hv::Partition& partition = teller.machine.partition();
    const auto set_second = [&teller](std::uint64_t to) {
        const std::array one{hv::register_value(HV_X64_REGISTER_TSC, to)};
        teller.machine.vp(1).set_registers(one);
    };
    teller.machine.set(HV_X64_REGISTER_TSC, value);
    teller.tell();
    EXPECT_EQ(teller.sequence, 0u);
    partition.set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 1);
    teller.machine.set(HV_X64_REGISTER_TSC, value);
    set_second(value);
    partition.set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 0);
    teller.tell();
    teller.expect_page_to_agree();
}

/// A guest that waits for what it is given to handle.
struct Pauser {
    Pauser(std::uint8_t vector, Code handler) {
        machine.load(CODE(pauses));
        machine.start_in_long_mode();
        machine.handle(vector, handler);
    }

    GuestMachine machine;
};

TEST(Properties, TellWhatAChildHas) {
    GuestMachine machine;
    const hv::Partition& partition = machine.partition();
    EXPECT_NE(partition.property(HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0), 0u);
    (void)partition.property(HV_PARTITION_PROPERTY_PROCESSOR_FEATURES1); // it may have none
    EXPECT_EQ(partition.property(HV_PARTITION_PROPERTY_PROCESSOR_VENDOR), 0u);
    const std::uint64_t width = partition.property(HV_PARTITION_PROPERTY_PHYSICAL_ADDRESS_WIDTH);
    EXPECT_EQ(machine.vp().cpuid(0x80000008, 0)[0] & 0xff, width);
    machine.partition().set_property(HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET, 4);
    EXPECT_EQ(partition.property(HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET), 4u);
    EXPECT_THROW(machine.partition().set_property(HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET, 0),
        hv::HypervisorError);
}

TEST(State, ExtendedStateIsCompacted) {
    constexpr std::size_t format_at = 520;
    constexpr std::uint64_t compacted = std::uint64_t{1} << 63;
    GuestMachine machine;
    const auto state = machine.vp().get_state(hv::VpState::xsave);
    std::uint64_t format = 0;
    ASSERT_GE(state.size(), 576u);
    std::memcpy(&format, state.data() + format_at, sizeof format);
    EXPECT_EQ(format, compacted | machine.partition().property(HV_PARTITION_PROPERTY_XSAVE_STATES));
    // SSE in use, in the standard form.
    std::vector<std::uint8_t> standard(4096);
    const std::uint64_t in_use = 3;
    const std::uint32_t mxcsr = 0x1f80;
    const std::uint64_t xmm0 = 0x1122334455667788;
    std::memcpy(standard.data() + 24, &mxcsr, sizeof mxcsr);
    std::memcpy(standard.data() + 160, &xmm0, sizeof xmm0);
    std::memcpy(standard.data() + 512, &in_use, sizeof in_use);
    machine.vp().set_state(hv::VpState::xsave, standard);
    EXPECT_EQ(machine.get(HV_X64_REGISTER_XMM0), xmm0);
}

TEST(State, APageOfTheSynicIsKeptUntilItIsPlaced) {
    constexpr std::uint64_t place = 0x5000;
    GuestMachine machine;
    for (const auto& [which, name] : {std::pair{hv::VpState::message_page, HV_REGISTER_SIMP},
             std::pair{hv::VpState::event_flags_page, HV_REGISTER_SIEFP}}) {
        std::vector<std::uint8_t> page = machine.vp().get_state(which);
        EXPECT_EQ(page, std::vector<std::uint8_t>(4096));
        page[17] = 0x42;
        machine.vp().set_state(which, page);
        EXPECT_EQ(machine.vp().get_state(which), page);
        machine.set(name, place | 1);
        EXPECT_EQ(machine.vp().get_state(which), page);
        machine.set(name, 0);
    }
}

TEST(State, ANonMaskableInterruptTravelsInTheLocalApics) {
    constexpr std::size_t request_at = 4 * 21;
    constexpr std::uint8_t nmi = 1u << 2;
    Pauser pauser{2, CODE(says_nmi)};
    GuestMachine& machine = pauser.machine;
    auto state = machine.vp().get_state(hv::VpState::local_apic);
    EXPECT_EQ(state.at(request_at) & nmi, 0);
    machine.partition().assert_interrupt({.type = HV_X64_INTERRUPT_TYPE_NMI});
    state = machine.vp().get_state(hv::VpState::local_apic);
    EXPECT_NE(state.at(request_at) & nmi, 0);
    state.at(request_at) &= static_cast<std::uint8_t>(~nmi);
    machine.vp().set_state(hv::VpState::local_apic, state);
    EXPECT_EQ(machine.vp().get_state(hv::VpState::local_apic), state);
    state.at(request_at) |= nmi;
    machine.vp().set_state(hv::VpState::local_apic, state);
    EXPECT_EQ(machine.report(), 2u);
}

TEST(Registers, ControlRegistersHaveAnotherName) {
    GuestMachine machine;
    machine.start_in_long_mode();
    for (const auto& [one, other] :
        {std::pair{HV_X64_REGISTER_CR0, HV_X64_REGISTER_INTERMEDIATE_CR0},
            std::pair{HV_X64_REGISTER_CR3, HV_X64_REGISTER_INTERMEDIATE_CR3},
            std::pair{HV_X64_REGISTER_CR4, HV_X64_REGISTER_INTERMEDIATE_CR4},
            std::pair{HV_X64_REGISTER_CR8, HV_X64_REGISTER_INTERMEDIATE_CR8}}) {
        const std::uint64_t value = machine.get(one);
        EXPECT_EQ(machine.get(other), value);
        machine.set(other, value);
    }
    machine.set(HV_X64_REGISTER_DEBUG_CTL, 0);
    EXPECT_EQ(machine.get(HV_X64_REGISTER_DEBUG_CTL), 0u);
}

TEST(Registers, AnExceptionIsRaised) {
    Pauser pauser{13, CODE(says_error_code)};
    GuestMachine& machine = pauser.machine;
    hv_register_assoc event = hv::register_name(HV_REGISTER_PENDING_EVENT0);
    event.value.pending_exception_event.event_pending = 1;
    event.value.pending_exception_event.deliver_error_code = 1;
    event.value.pending_exception_event.vector = 13;
    event.value.pending_exception_event.error_code = 0x58;
    const std::array none{hv::register_value(HV_REGISTER_PENDING_EVENT1, 0)};
    machine.vp().set_registers(std::array{event});
    machine.vp().set_registers(none);
    std::array got{hv::register_name(HV_REGISTER_PENDING_EVENT0)};
    machine.vp().get_registers(got);
    EXPECT_EQ(got[0].value.pending_exception_event.vector, 13u);
    EXPECT_EQ(machine.report(), 0x58u);
    EXPECT_EQ(machine.get(HV_REGISTER_PENDING_EVENT0), 0u);
}

TEST(Registers, AnInterruptionStaysWhenNoExceptionIsPending) {
    Pauser pauser{13, CODE(says_error_code)};
    GuestMachine& machine = pauser.machine;
    hv_register_assoc interruption = hv::register_name(HV_REGISTER_PENDING_INTERRUPTION);
    interruption.value.pending_interruption.interruption_pending = 1;
    interruption.value.pending_interruption.interruption_type = HV_X64_PENDING_EXCEPTION;
    interruption.value.pending_interruption.deliver_error_code = 1;
    interruption.value.pending_interruption.interruption_vector = 13;
    interruption.value.pending_interruption.error_code = 0x60;
    const std::array restored{interruption, hv::register_value(HV_REGISTER_INTERRUPT_STATE, 0),
        hv::register_value(HV_REGISTER_PENDING_EVENT0, 0)};
    machine.vp().set_registers(restored);
    EXPECT_EQ(machine.report(), 0x60u);
}

TEST(Registers, TheHypercallPageIsRestoredBeforeTheIdentity) {
    constexpr std::uint64_t enabled = 0x5001;
    GuestMachine machine;
    machine.set(HV_X64_REGISTER_HYPERCALL, enabled);
    machine.set(HV_REGISTER_GUEST_OS_ID, 1);
    EXPECT_EQ(machine.get(HV_X64_REGISTER_HYPERCALL), enabled);
    machine.set(HV_REGISTER_GUEST_OS_ID, 0);
    EXPECT_EQ(machine.get(HV_X64_REGISTER_HYPERCALL), enabled & ~std::uint64_t{1});
}

TEST(Intercepts, ARetargetedDeviceInterruptIsForWhoHasAsked) {
    GuestMachine machine;
    machine.load(CODE(hypercall));
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RBX, HVCALL_RETARGET_DEVICE_INTERRUPT);
    machine.set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
    EXPECT_EQ(machine.report(), HV_STATUS_INVALID_PARAMETER);
    for (const hv_intercept_type type :
        {HV_INTERCEPT_TYPE_HYPERCALL, HV_INTERCEPT_TYPE_UNKNOWN_SYNIC_CONNECTION,
            HV_INTERCEPT_TYPE_RETARGET_INTERRUPT_WITH_UNKNOWN_DEVICE_ID}) {
        machine.partition().install_intercept(type, HV_INTERCEPT_ACCESS_MASK_EXECUTE, 0);
    }
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RBX, HVCALL_RETARGET_DEVICE_INTERRUPT);
    ASSERT_EQ(machine.report(), std::nullopt);
    EXPECT_EQ(machine.message().header.message_type, HVMSG_HYPERCALL_INTERCEPT);
    const auto call = machine.payload<hv_x64_hypercall_intercept_message>();
    EXPECT_EQ(call.rcx & HV_HYPERCALL_CODE_MASK, HVCALL_RETARGET_DEVICE_INTERRUPT);
    EXPECT_EQ(call.rdx, GuestMachine::data_gpa);
}

TEST(Intercepts, AForbiddenWriteComesWithItsInstruction) {
    constexpr std::uint64_t rom_gpa = 0x10000000;
    GuestMachine machine;
    alignas(4096) static std::array<std::uint8_t, 4096> rom{};
    machine.partition().map_memory(
        {.gpa = rom_gpa, .size = rom.size(), .address = rom.data(), .writable = false});
    machine.load(CODE(write));
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, rom_gpa + 8);
    ASSERT_EQ(machine.report(), std::nullopt);
    EXPECT_EQ(machine.message().header.message_type, HVMSG_GPA_INTERCEPT);
    const auto access = machine.payload<hv_x64_memory_intercept_message>();
    EXPECT_EQ(access.guest_physical_address, rom_gpa + 8);
    EXPECT_GE(access.instruction_byte_count, 3);
    const std::array<std::uint8_t, 3> mov{0x48, 0x89, 0x07};
    EXPECT_EQ(std::memcmp(access.instruction_bytes, mov.data(), mov.size()), 0);
}

} // namespace

} // namespace croft::guests
