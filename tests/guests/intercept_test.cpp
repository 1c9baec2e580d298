// SPDX-License-Identifier: Apache-2.0
// Intercepts that a parent asks for, what it decides beforehand, and events that it raises.
#include "hv/error.hpp"
#include "tests/guests/guest_code.hpp"
#include "tests/guests/guest_machine.hpp"

#include <cpuid.h>
#include <csignal>
#include <gtest/gtest.h>
#include <pthread.h>
#include <thread>

GUEST(cpuid)
GUEST(ends_by_msr)
GUEST(ends_by_page)
GUEST(ends_by_synthetic_msr)
GUEST(hypercall)
GUEST(is_idle)
GUEST(pauses)
GUEST(read)
GUEST(reads_msr)
GUEST(says_error_and_place)
GUEST(says_place)
GUEST(undefined)
GUEST(write)
GUEST(writes_msr)

namespace croft::guests {

namespace {

constexpr std::uint32_t execute = HV_INTERCEPT_ACCESS_MASK_EXECUTE;
constexpr std::uint32_t reads = HV_INTERCEPT_ACCESS_MASK_READ;
constexpr std::uint32_t writes = HV_INTERCEPT_ACCESS_MASK_WRITE;
constexpr std::uint32_t none = HV_INTERCEPT_ACCESS_MASK_NONE;

constexpr std::uint32_t unknown_msr = 0x12345678;
constexpr std::uint8_t general_protection = 13;

class InterceptTest : public testing::Test {
protected:
    void start(Code code) {
        machine.load(code);
        machine.start_in_long_mode();
    }
    void ask(hv_intercept_type type, std::uint32_t access, std::uint64_t parameter = 0) {
        machine.partition().install_intercept(type, access, parameter);
    }
    /// Runs to an intercept, which is of the given type.
    template <class Message>
    Message intercepted(std::uint32_t type) {
        EXPECT_EQ(machine.report(), std::nullopt);
        EXPECT_EQ(machine.message().header.message_type, type);
        return machine.payload<Message>();
    }
    /// Goes on behind the instruction.
    void skip(const hv_x64_intercept_message_header& header) {
        EXPECT_NE(header.instruction_length, 0u);
        machine.set(HV_X64_REGISTER_RIP, header.rip + header.instruction_length);
    }

    GuestMachine machine;
};

TEST_F(InterceptTest, CpuidOfALeafIsTheParentsToAnswer) {
    start(CODE(cpuid));
    machine.set(HV_X64_REGISTER_RDI, 7);
    machine.set(HV_X64_REGISTER_RSI, 0);
    ask(HV_INTERCEPT_TYPE_X64_CPUID, execute, 7);
    const auto own = machine.vp().cpuid(7, 0);
    const auto message = intercepted<hv_x64_cpuid_intercept_message>(HVMSG_X64_CPUID_INTERCEPT);
    EXPECT_EQ(message.rax, 7u);
    EXPECT_EQ(message.rcx, 0u);
    EXPECT_EQ(message.default_result_rbx, own.at(1));
    EXPECT_EQ(message.default_result_rdx, own.at(3));
    machine.set(HV_X64_REGISTER_RAX, 0x11);
    machine.set(HV_X64_REGISTER_RBX, 0x22);
    skip(message.header);
    EXPECT_EQ(machine.report(), 1u);
    EXPECT_EQ(machine.get(HV_X64_REGISTER_R8), 0x11u);
    EXPECT_EQ(machine.get(HV_X64_REGISTER_R9), 0x22u);
    machine.set(HV_X64_REGISTER_RDI, 1);
    EXPECT_EQ(machine.report(), 1u) << "another leaf";
    machine.set(HV_X64_REGISTER_RDI, 7);
    ask(HV_INTERCEPT_TYPE_X64_CPUID, none, 7);
    EXPECT_EQ(machine.report(), 1u);
    EXPECT_EQ(machine.get(HV_X64_REGISTER_R9), own.at(1));
    ask(HV_INTERCEPT_TYPE_X64_GLOBAL_CPUID, execute);
    EXPECT_EQ(intercepted<hv_x64_cpuid_intercept_message>(HVMSG_X64_CPUID_INTERCEPT).rax, 7u);
}

TEST_F(InterceptTest, AnUnknownMsrIsAFaultAnInterceptOrWhatHasBeenDecided) {
    start(CODE(reads_msr));
    machine.handle(general_protection, CODE(says_error_and_place));
    machine.set(HV_X64_REGISTER_RDI, unknown_msr);
    ask(HV_INTERCEPT_TYPE_X64_MSR, reads | writes);
    const auto message = intercepted<hv_x64_msr_intercept_message>(HVMSG_X64_MSR_INTERCEPT);
    EXPECT_EQ(message.msr_number, unknown_msr);
    EXPECT_EQ(message.header.intercept_access_type, HV_INTERCEPT_ACCESS_READ);
    EXPECT_EQ(message.header.instruction_length, 2u);
    machine.set(HV_X64_REGISTER_RAX, 0x5678);
    machine.set(HV_X64_REGISTER_RDX, 0x1234);
    skip(message.header);
    EXPECT_EQ(machine.report(), 1u);
    EXPECT_EQ(machine.get(HV_X64_REGISTER_R8), 0x1234'0000'5678u);

    machine.partition().register_msr(
        unknown_msr, reads, HV_UNIMPLEMENTED_MSR_ACTION_IGNORE_WRITE_READ_ZERO);
    EXPECT_EQ(machine.report(), 1u);
    EXPECT_EQ(machine.get(HV_X64_REGISTER_R8), 0u);
    machine.set(HV_X64_REGISTER_RDI, unknown_msr + 1);
    EXPECT_EQ(intercepted<hv_x64_msr_intercept_message>(HVMSG_X64_MSR_INTERCEPT).msr_number,
        unknown_msr + 1);
    ask(HV_INTERCEPT_TYPE_X64_MSR, none);
    EXPECT_EQ(machine.report(), 0u) << "an error code";
    EXPECT_EQ(machine.report(), message.header.rip);
}

TEST_F(InterceptTest, AFaultThatHasBeenDecidedComesBeforeTheProperty) {
    start(CODE(writes_msr));
    machine.handle(general_protection, CODE(says_error_and_place));
    machine.partition().set_property(HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION,
        HV_UNIMPLEMENTED_MSR_ACTION_IGNORE_WRITE_READ_ZERO);
    machine.set(HV_X64_REGISTER_RDI, unknown_msr);
    EXPECT_EQ(machine.report(), 1u);
    machine.partition().register_msr(unknown_msr, writes, HV_UNIMPLEMENTED_MSR_ACTION_FAULT);
    EXPECT_EQ(machine.report(), 0u) << "an error code";
}

/// Also one that guests have without an exit.
TEST_F(InterceptTest, OneMsrIsInterceptedWhateverItIs) {
    constexpr std::uint32_t star = 0xc0000081;
    constexpr std::uint32_t pat = 0x277;
    constexpr std::uint64_t value = 0x0023'0010'0000'0000;
    start(CODE(writes_msr));
    machine.set(HV_X64_REGISTER_RDI, star);
    machine.set(HV_X64_REGISTER_RSI, value);
    EXPECT_EQ(machine.report(), 1u);
    ask(HV_INTERCEPT_TYPE_X64_MSR_INDEX, reads, star);
    machine.set(HV_X64_REGISTER_RSI, value + 1);
    EXPECT_EQ(machine.report(), 1u) << "writes are not asked for";
    EXPECT_EQ(machine.get(HV_X64_REGISTER_STAR), value + 1);
    ask(HV_INTERCEPT_TYPE_X64_MSR_INDEX, writes, star);
    machine.set(HV_X64_REGISTER_RSI, value);
    const auto message = intercepted<hv_x64_msr_intercept_message>(HVMSG_X64_MSR_INTERCEPT);
    EXPECT_EQ(message.header.intercept_access_type, HV_INTERCEPT_ACCESS_WRITE);
    EXPECT_EQ(message.rdx, value >> 32);
    skip(message.header);
    EXPECT_EQ(machine.report(), 1u);
    EXPECT_EQ(machine.get(HV_X64_REGISTER_STAR), value + 1) << "it was not written";
    ask(HV_INTERCEPT_TYPE_X64_MSR_INDEX, none, star);
    EXPECT_EQ(machine.report(), 1u);
    EXPECT_EQ(machine.get(HV_X64_REGISTER_STAR), value);
    ask(HV_INTERCEPT_TYPE_X64_MSR_INDEX, writes, pat);
    machine.set(HV_X64_REGISTER_RDI, pat);
    EXPECT_EQ(intercepted<hv_x64_msr_intercept_message>(HVMSG_X64_MSR_INTERCEPT).msr_number, pat);
}

/// While some MSR is asked about, the others that guests have without an exit are as ever.
TEST_F(InterceptTest, OtherMsrsStayTheGuests) {
    constexpr std::uint32_t star = 0xc0000081;
    constexpr std::uint32_t lstar = 0xc0000082;
    constexpr std::uint32_t tsc = 0x10;
    start(CODE(reads_msr));
    ask(HV_INTERCEPT_TYPE_X64_MSR_INDEX, reads, star);
    machine.set(HV_X64_REGISTER_LSTAR, 0x1234'5678);
    machine.set(HV_X64_REGISTER_RDI, lstar);
    EXPECT_EQ(machine.report(), 1u);
    EXPECT_EQ(machine.get(HV_X64_REGISTER_R8), 0x1234'5678u);
    machine.set(HV_X64_REGISTER_RDI, tsc);
    EXPECT_EQ(machine.report(), 1u);
    EXPECT_LE(machine.get(HV_X64_REGISTER_R8), machine.get(HV_X64_REGISTER_TSC));
}

TEST_F(InterceptTest, AnExceptionIsTheParentsToHandle) {
    constexpr std::uint8_t invalid_opcode = 6;
    start(CODE(undefined));
    ask(HV_INTERCEPT_TYPE_EXCEPTION, execute, invalid_opcode);
    const auto message =
        intercepted<hv_x64_exception_intercept_message>(HVMSG_X64_EXCEPTION_INTERCEPT);
    EXPECT_EQ(message.exception_vector, invalid_opcode);
    EXPECT_EQ(message.error_code_valid, 0u);
    EXPECT_EQ(message.header.rip, GuestMachine::code_gpa);
    EXPECT_GE(message.instruction_byte_count, 2u);
    EXPECT_EQ(message.instruction_bytes[1], 0x0b);
    EXPECT_EQ(message.gp_registers[4], machine.get(HV_X64_REGISTER_RSP));
    machine.set(HV_X64_REGISTER_RIP, message.header.rip + 2);
    EXPECT_EQ(machine.report(), 1u);
}

TEST_F(InterceptTest, APageFaultThatTheParentGivesBackIsTheGuests) {
    constexpr std::uint8_t page_fault = 14;
    constexpr std::uint64_t not_mapped = 0x40000008;
    constexpr std::uint32_t written = 2;
    start(CODE(write));
    machine.handle(page_fault, CODE(says_error_and_place));
    machine.set(HV_X64_REGISTER_RDI, not_mapped);
    ask(HV_INTERCEPT_TYPE_EXCEPTION, execute, page_fault);
    const auto message =
        intercepted<hv_x64_exception_intercept_message>(HVMSG_X64_EXCEPTION_INTERCEPT);
    EXPECT_EQ(message.exception_vector, page_fault);
    EXPECT_EQ(message.error_code_valid, 1u);
    EXPECT_EQ(message.error_code, written);
    EXPECT_EQ(message.exception_parameter, not_mapped);
    hv_register_assoc event = hv::register_name(HV_REGISTER_PENDING_EVENT0);
    event.value.pending_exception_event.event_pending = 1;
    event.value.pending_exception_event.deliver_error_code = 1;
    event.value.pending_exception_event.vector = page_fault;
    event.value.pending_exception_event.error_code = message.error_code;
    event.value.pending_exception_event.exception_parameter = message.exception_parameter;
    machine.vp().set_registers(std::array{event});
    EXPECT_EQ(machine.report(), written);
    EXPECT_EQ(machine.report(), GuestMachine::code_gpa);
    EXPECT_EQ(machine.get(HV_X64_REGISTER_CR2), not_mapped);
}

hv_register_assoc interruption(
    hv_x64_pending_interruption_type type, std::uint8_t vector, unsigned length) {
    hv_register_assoc result = hv::register_name(HV_REGISTER_PENDING_INTERRUPTION);
    result.value.pending_interruption.interruption_pending = 1;
    result.value.pending_interruption.interruption_type = type & 7;
    result.value.pending_interruption.interruption_vector = vector;
    result.value.pending_interruption.instruction_length = length & 0xf;
    return result;
}

TEST_F(InterceptTest, AnInstructionsInterruptReturnsBehindIt) {
    struct Case {
        hv_x64_pending_interruption_type type;
        std::uint8_t vector;
        unsigned length;
    };
    for (const Case& one : {Case{HV_X64_PENDING_SOFTWARE_INTERRUPT, 0x80, 2},
             Case{HV_X64_PENDING_SOFTWARE_EXCEPTION, 4, 1},
             Case{HV_X64_PENDING_PRIVILEGED_SOFTWARE_EXCEPTION, 1, 1},
             Case{HV_X64_PENDING_EXCEPTION, 5, 0}}) {
        GuestMachine guest;
        guest.load(CODE(pauses));
        guest.start_in_long_mode();
        guest.handle(one.vector, CODE(says_place));
        const std::array given{interruption(one.type, one.vector, one.length)};
        guest.vp().set_registers(given);
        std::array got{hv::register_name(HV_REGISTER_PENDING_INTERRUPTION)};
        guest.vp().get_registers(got);
        EXPECT_EQ(got[0].value.reg64, given[0].value.reg64);
        EXPECT_EQ(guest.report(), GuestMachine::code_gpa + one.length) << one.type;
    }
    EXPECT_THROW(machine.vp().set_registers(
                     std::array{interruption(HV_X64_PENDING_SOFTWARE_EXCEPTION, 6, 1)}),
        hv::HypervisorError);
    EXPECT_THROW(machine.set(HV_REGISTER_PENDING_INTERRUPTION, 3 | 3u << 16), hv::HypervisorError)
        << "there is no type 1";
}

/// What is delivered finds its stack missing: it is delivered again when that is there.
TEST_F(InterceptTest, AnInterruptOfAnInstructionOutlivesAnIntercept) {
    constexpr std::uint64_t stack = 0x20000000;
    alignas(4096) static std::array<std::uint8_t, 4096> memory{};
    start(CODE(pauses));
    machine.handle(0x80, CODE(says_place));
    machine.set(HV_X64_REGISTER_RSP, stack + 0x800);
    machine.vp().set_registers(
        std::array{interruption(HV_X64_PENDING_SOFTWARE_INTERRUPT, 0x80, 2)});
    ASSERT_EQ(machine.report(), std::nullopt);
    EXPECT_EQ(machine.message().header.message_type, HVMSG_UNMAPPED_GPA);
    const auto message = machine.payload<hv_x64_memory_intercept_message>();
    EXPECT_EQ(message.header.rip, GuestMachine::code_gpa);
    EXPECT_EQ(message.header.execution_state.interruption_pending, 1u);
    EXPECT_EQ(message.gva_valid, 0u) << "no operand of the instruction's";
    machine.partition().map_memory({.gpa = stack, .size = memory.size(), .address = memory.data()});
    EXPECT_EQ(machine.report(), GuestMachine::code_gpa + 2);
}

/// A VMM that carries instructions out itself gives up on one that is told with an interrupt in
/// delivery.
TEST_F(InterceptTest, AnInterruptThatTheGuestHasOffIsNotBeingDelivered) {
    start(CODE(cpuid));
    machine.handle(0x80, CODE(says_place));
    const std::array given{interruption(HV_X64_PENDING_INTERRUPT, 0x80, 0)};
    machine.vp().set_registers(given);
    EXPECT_EQ(machine.report(), 1u);
    const auto message = machine.payload<hv_x64_io_port_intercept_message>();
    EXPECT_EQ(message.header.execution_state.interruption_pending, 0u);
    std::array got{hv::register_name(HV_REGISTER_PENDING_INTERRUPTION)};
    machine.vp().get_registers(got);
    EXPECT_EQ(got[0].value.reg64, given[0].value.reg64);
    const auto place = static_cast<std::uint32_t>(machine.get(HV_X64_REGISTER_RIP));
    machine.set(HV_X64_REGISTER_RFLAGS, 0x202);
    EXPECT_EQ(machine.report(), place);
}

TEST_F(InterceptTest, ACallThatNobodyKnowsIsForWhoHasAsked) {
    constexpr std::uint64_t code = 0x8001;
    start(CODE(hypercall));
    machine.set(HV_X64_REGISTER_RBX, code);
    machine.set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
    EXPECT_EQ(machine.report(), HV_STATUS_INVALID_HYPERCALL_CODE);
    ask(HV_INTERCEPT_TYPE_HYPERCALL, execute);
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RBX, code);
    const auto message = intercepted<hv_x64_hypercall_intercept_message>(HVMSG_HYPERCALL_INTERCEPT);
    EXPECT_EQ(message.rcx, code);
    EXPECT_EQ(message.rdx, GuestMachine::data_gpa);
}

/// A guest whose local APIC is at RDI, and on. It takes interrupts.
class EndOfInterruptTest : public InterceptTest {
protected:
    static constexpr std::uint8_t vector = 0x43;
    static constexpr std::uint64_t apic_page = 0xfee00000;

    void take_interrupts() {
        start(CODE(pauses));
        machine.set(HV_X64_REGISTER_RDI, apic_page);
        machine.set(HV_X64_REGISTER_RFLAGS, 0x202);
        auto apic = machine.vp().get_state(hv::VpState::local_apic);
        const std::uint32_t enabled = 0x1ff;
        constexpr std::size_t spurious_at = 16;
        std::memcpy(apic.data() + spurious_at, &enabled, sizeof enabled);
        machine.vp().set_state(hv::VpState::local_apic, apic);
    }
    void raise(bool level) {
        machine.partition().assert_interrupt({.vector = vector, .level = level});
    }
    /// The end of each level-triggered one is told when the guest has ended it, and of no other.
    void check() {
        for (unsigned i = 0; i < 2; ++i) {
            raise(true);
            EXPECT_EQ(machine.report(), vector);
            ASSERT_EQ(machine.report(), std::nullopt) << "its end was not told";
            EXPECT_EQ(machine.message().header.message_type, HVMSG_X64_APIC_EOI);
            const auto message = machine.payload<hv_x64_apic_eoi_message>();
            EXPECT_EQ(message.vp_index, 0u);
            EXPECT_EQ(message.interrupt_vector, vector);
            EXPECT_EQ(machine.report(), 1u);
        }
        raise(false);
        EXPECT_EQ(machine.report(), vector);
        EXPECT_EQ(machine.report(), 1u);
    }
};

TEST_F(EndOfInterruptTest, IsToldOfALevelTriggeredOne) {
    take_interrupts();
    machine.handle(vector, CODE(ends_by_msr));
    check();
}

TEST_F(EndOfInterruptTest, IsToldOfOneThatASyntheticMsrHasEnded) {
    take_interrupts();
    machine.handle(vector, CODE(ends_by_synthetic_msr));
    check();
}

TEST_F(EndOfInterruptTest, IsToldOfOneThatTheApicsPageHasEnded) {
    take_interrupts();
    machine.handle_exception(vector, CODE(ends_by_page));
    check();
}

TEST_F(InterceptTest, WhatIsNotOfferedIsRefused) {
    struct Case {
        std::uint32_t type;
        std::uint32_t access;
        std::uint64_t parameter;
    };
    for (const Case& one : {Case{HV_INTERCEPT_TYPE_X64_IO_PORT, none, 0x80},
             Case{HV_INTERCEPT_TYPE_X64_IO_PORT, execute, 0x80},
             Case{HV_INTERCEPT_TYPE_X64_IO_PORT_RANGE, reads, 0x0010'0020},
             Case{HV_INTERCEPT_TYPE_X64_MSR, execute, 0},
             Case{HV_INTERCEPT_TYPE_X64_MSR_INDEX, reads, 1ull << 32},
             Case{HV_INTERCEPT_TYPE_X64_CPUID, reads, 1},
             Case{HV_INTERCEPT_TYPE_X64_CPUID, execute, 1ull << 32},
             Case{HV_INTERCEPT_TYPE_EXCEPTION, execute, 2},
             Case{HV_INTERCEPT_TYPE_EXCEPTION, execute, 18},
             Case{HV_INTERCEPT_TYPE_EXCEPTION, execute, 32},
             Case{HV_INTERCEPT_TYPE_EXCEPTION, writes, 6}, Case{HV_INTERCEPT_TYPE_MMIO, reads, 0},
             Case{HV_INTERCEPT_TYPE_HYPERCALL, writes, 0},
             Case{HV_INTERCEPT_TYPE_X64_APIC_SMI, execute, 0},
             Case{HV_INTERCEPT_TYPE_X64_APIC_INIT_SIPI, execute, 0},
             Case{HV_INTERCEPT_TYPE_X64_APIC_WRITE, writes, 1},
             Case{HV_INTERCEPT_TYPE_X64_EXCEPTION_TRAP, execute, 1}, Case{18, execute, 0},
             Case{~0u, execute, 0}}) {
        EXPECT_THROW(ask(static_cast<hv_intercept_type>(one.type), one.access, one.parameter),
            hv::HypervisorError)
            << one.type << ' ' << one.access << ' ' << one.parameter;
    }
    ask(HV_INTERCEPT_TYPE_X64_IO_PORT, reads | writes, 0x80);
    ask(HV_INTERCEPT_TYPE_X64_IO_PORT_RANGE, reads, 0x0020'0010);
    ask(HV_INTERCEPT_TYPE_X64_APIC_EOI, writes);
    EXPECT_THROW(
        machine.partition().register_msr(unknown_msr, none, HV_UNIMPLEMENTED_MSR_ACTION_FAULT),
        hv::HypervisorError);
}

TEST_F(InterceptTest, MemoryComesWithItsVirtualAddress) {
    constexpr std::uint64_t low_tables = 0x12000;
    constexpr std::uint64_t large_entry = 0x83;
    constexpr std::uint64_t gva = 0x2000123;
    constexpr std::uint64_t gpa = 0x20000123;
    start(CODE(read));
    machine.store(low_tables + (gva >> 21) * 8, (gpa & ~std::uint64_t{0x1fffff}) | large_entry);
    machine.set(HV_X64_REGISTER_RDI, gva);
    const auto message = intercepted<hv_x64_memory_intercept_message>(HVMSG_UNMAPPED_GPA);
    EXPECT_EQ(message.guest_physical_address, gpa);
    EXPECT_EQ(message.gva_valid, 1u);
    EXPECT_EQ(message.gva_gpa_valid, 1u);
    EXPECT_EQ(message.guest_virtual_address, gva);
}

TEST_F(InterceptTest, OfAMissingPageTableNoVirtualAddressIsTold) {
    constexpr std::uint64_t pdpt = 0x11000;
    constexpr std::uint64_t missing = 0x20000000;
    start(CODE(read));
    machine.store(pdpt + 2 * 8, missing | 3); // of the third GiB
    machine.set(HV_X64_REGISTER_RDI, 0x80000100);
    const auto message = intercepted<hv_x64_memory_intercept_message>(HVMSG_UNMAPPED_GPA);
    EXPECT_EQ(message.guest_physical_address, missing);
    EXPECT_EQ(message.gva_gpa_valid, 0u);
}

/// A spin lock's holder wakes who waits for it by an interrupt, which may find the waiter in the
/// handler of another of that priority.
class IdleTest : public InterceptTest, public testing::WithParamInterface<std::uint8_t> {};

TEST_P(IdleTest, EndsWithAnInterruptThatTheGuestHasMasked) {
    start(CODE(is_idle));
    machine.handle(0x40, CODE(says_place)); // switches its local APIC on
    machine.set(HV_X64_REGISTER_RDI, GetParam());
    struct sigaction action {};
    action.sa_handler = [](int) {
    };
    sigaction(SIGUSR1, &action, nullptr);
    hv_internal_activity_register activity{};
    {
        std::jthread interrupter{[main = pthread_self()](const std::stop_token& stop) {
            while (!stop.stop_requested()) {
                pthread_kill(main, SIGUSR1);
                std::this_thread::yield();
            }
        }};
        while (activity.idle_suspend == 0) {
            ASSERT_EQ(machine.vp().run(), hv::RunResult::interrupted);
            activity.as_uint64 = machine.get(HV_REGISTER_INTERNAL_ACTIVITY_STATE);
        }
    }
    EXPECT_EQ(activity.halt_suspend, 0u);
    machine.partition().assert_interrupt({.vector = 0x40});
    EXPECT_EQ(machine.report(), 1u);
}

INSTANTIATE_TEST_SUITE_P(ByFlag, IdleTest, testing::Values(0x00));
INSTANTIATE_TEST_SUITE_P(ByPriorityToo, IdleTest, testing::Values(0x40, 0xf0));

TEST_F(InterceptTest, TheGuestDecidesThatItsCounterIsCalledInvariant) {
    constexpr std::uint32_t control = 0x40000118;
    constexpr std::uint32_t power = 0x80000007;
    constexpr std::uint32_t invariant = 1u << 8;
    constexpr std::uint32_t no = 0;
    std::array<unsigned, 4> own{};
    __get_cpuid(power, own.data(), &own[1], &own[2], &own[3]);
    const auto write = [&](std::uint64_t value) {
        start(CODE(writes_msr));
        machine.handle(general_protection, CODE(says_error_and_place));
        machine.set(HV_X64_REGISTER_RDI, control);
        machine.set(HV_X64_REGISTER_RSI, value);
        return machine.report();
    };
    EXPECT_EQ(machine.vp().cpuid(power, 0).at(3) & invariant, 0u);
    EXPECT_EQ(write(2), no);
    EXPECT_EQ(write(0), 1u);
    EXPECT_EQ(write(1), 1u);
    EXPECT_EQ(machine.vp().cpuid(power, 0).at(3) & invariant, own[3] & invariant);
    EXPECT_EQ(write(0), no) << "it can't be taken back";
}

} // namespace

} // namespace croft::guests
