// SPDX-License-Identifier: Apache-2.0
// Children of a few instructions, run in the root on the real hypervisor.
#include "abi/port.h"
#include "hv/error.hpp"
#include "tests/guests/guest_code.hpp"
#include "tests/guests/guest_machine.hpp"

#include <atomic>
#include <bit>
#include <chrono>
#include <csignal>
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>

GUEST(real_mode)
GUEST(protected_mode)
GUEST(read)
GUEST(write)
GUEST(jump)
GUEST(triple_fault)
GUEST(signal)
GUEST(starts_another)
GUEST(starts_another_by_page)
GUEST(clock)
GUEST(floating_point)
GUEST(spins)

namespace croft::guests {

namespace {

constexpr std::uint64_t nowhere = 0x20000000;

/// An eventfd and how often it was rung.
class Event {
public:
    Event() : fd_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {}
    ~Event() { close(fd_); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    [[nodiscard]] int fd() const { return fd_; }
    /// Waits for a ring. \return how many, 0 if none came in time.
    [[nodiscard]] std::uint64_t wait(int milliseconds = 5000) const {
        pollfd poll_fd{.fd = fd_, .events = POLLIN, .revents = 0};
        std::uint64_t count = 0;
        if (poll(&poll_fd, 1, milliseconds) == 1) {
            (void)!read(fd_, &count, sizeof count);
        }
        return count;
    }

private:
    int fd_;
};

TEST(Partition, RunsRealModeAndPrintsOneByte) {
    GuestMachine machine;
    machine.load(CODE(real_mode));
    machine.start_in_real_mode();
    EXPECT_EQ(machine.report(), 'U');
}

TEST(Partition, RunsProtectedMode) {
    GuestMachine machine;
    machine.load(CODE(protected_mode));
    machine.store<std::uint32_t>(GuestMachine::data_gpa, 40);
    machine.store<std::uint32_t>(GuestMachine::data_gpa + 4, 2);
    machine.start_in_protected_mode();
    EXPECT_EQ(machine.report(), 42u);
}

TEST(Partition, ReadsItsMemoryInLongMode) {
    GuestMachine machine;
    machine.load(CODE(read));
    machine.store<std::uint64_t>(GuestMachine::data_gpa, 0x12345678);
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
    EXPECT_EQ(machine.report(), 0x12345678u);
}

TEST(Partition, MemoryNotGivenIsAnInterceptNeverData) {
    GuestMachine machine;
    machine.load(CODE(read));
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, nowhere);
    ASSERT_EQ(machine.report(), std::nullopt);
    EXPECT_EQ(machine.message().header.message_type, HVMSG_UNMAPPED_GPA);
    const auto access = machine.payload<hv_x64_memory_intercept_message>();
    EXPECT_EQ(access.guest_physical_address, nowhere);
    EXPECT_EQ(access.header.intercept_access_type, HV_INTERCEPT_ACCESS_READ);
    EXPECT_GE(access.instruction_byte_count, 3);
}

TEST(Partition, WriteToMemoryNotGivenIsAnIntercept) {
    GuestMachine machine;
    machine.load(CODE(write));
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, nowhere);
    ASSERT_EQ(machine.report(), std::nullopt);
    EXPECT_EQ(machine.message().header.message_type, HVMSG_UNMAPPED_GPA);
    EXPECT_EQ(machine.payload<hv_x64_memory_intercept_message>().header.intercept_access_type,
        HV_INTERCEPT_ACCESS_WRITE);
}

TEST(Partition, JumpToNowhereIsAnIntercept) {
    GuestMachine machine;
    machine.load(CODE(jump));
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, nowhere);
    ASSERT_EQ(machine.report(), std::nullopt);
    EXPECT_EQ(machine.message().header.message_type, HVMSG_UNMAPPED_GPA);
    EXPECT_EQ(machine.payload<hv_x64_memory_intercept_message>().header.intercept_access_type,
        HV_INTERCEPT_ACCESS_EXECUTE);
}

TEST(Partition, TripleFaultIsToldToTheParent) {
    GuestMachine machine;
    machine.load(CODE(triple_fault));
    machine.start_in_long_mode();
    ASSERT_EQ(machine.report(), std::nullopt);
    EXPECT_EQ(machine.message().header.message_type, HVMSG_UNRECOVERABLE_EXCEPTION);
}

TEST(Partition, ImpossibleStateIsToldToTheParent) {
    GuestMachine machine;
    machine.load(CODE(read));
    machine.start_in_long_mode();
    // Each register for itself may be so: long mode is paged, and its pages have wide entries.
    constexpr std::uint64_t wide_entries = 1ull << 5;
    machine.set(HV_X64_REGISTER_CR4, machine.get(HV_X64_REGISTER_CR4) & ~wide_entries);
    ASSERT_EQ(machine.report(), std::nullopt);
    // An emulated processor may not check, and run into a triple fault instead.
    EXPECT_TRUE(machine.message().header.message_type == HVMSG_INVALID_VP_REGISTER_VALUE ||
        machine.message().header.message_type == HVMSG_UNRECOVERABLE_EXCEPTION)
        << machine.message().header.message_type;
}

TEST(Signal, RingsAnEventWithoutAnIntercept) {
    constexpr std::uint64_t connection = 7;
    constexpr std::uint64_t times = 100;
    GuestMachine machine;
    const Event event;
    machine.partition().connect_doorbell(
        {.gpa = HV_SIGNAL_WINDOW_BASE + connection * HV_SIGNAL_WINDOW_STRIDE,
            .size = 0,
            .value = std::nullopt,
            .event = event.fd()});
    machine.load(CODE(signal));
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, connection);
    machine.set(HV_X64_REGISTER_RSI, times);
    // The first thing that stops the guest is its report behind all signals.
    EXPECT_EQ(machine.report(), HV_STATUS_SUCCESS);
    EXPECT_GE(event.wait(), 1u);
}

TEST(Signal, OfAnUnknownConnectionIsForTheParent) {
    GuestMachine machine;
    machine.load(CODE(signal));
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, 9);
    machine.set(HV_X64_REGISTER_RSI, 1);
    ASSERT_EQ(machine.report(), std::nullopt);
    ASSERT_EQ(machine.message().header.message_type, HVMSG_HYPERCALL_INTERCEPT);
    const auto call = machine.payload<hv_x64_hypercall_intercept_message>();
    EXPECT_EQ(call.rcx & HV_HYPERCALL_CODE_MASK, HVCALL_SIGNAL_EVENT);
    EXPECT_EQ(call.rdx, 9u);
}

TEST(Doorbell, WriteRingsItsEventAndOnlyItsOwn) {
    constexpr std::uint64_t bell = 0x30000000;
    GuestMachine machine;
    const Event event;
    const Event other;
    machine.partition().connect_doorbell({.gpa = bell, .size = 8, .value = 5, .event = event.fd()});
    machine.partition().connect_doorbell({.gpa = bell, .size = 8, .value = 6, .event = other.fd()});
    machine.load(CODE(write));
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, bell);
    machine.set(HV_X64_REGISTER_RAX, 5);
    EXPECT_EQ(machine.report(), 5u);
    EXPECT_EQ(event.wait(), 1u);
    EXPECT_EQ(other.wait(0), 0u);
}

TEST(Processors, AnotherIsStartedByX2Apic) {
    GuestMachine machine{4u << 20, 2};
    machine.load(CODE(starts_another));
    machine.load(CODE(real_mode), GuestMachine::startup_gpa);
    machine.start_in_long_mode();
    const std::array x2apic{hv::register_value(HV_X64_REGISTER_APIC_BASE, 0xfee00d00)};
    machine.vp().set_registers(x2apic);
    std::optional<std::uint32_t> second;
    std::jthread runner{[&] {
        second = machine.report(1);
    }};
    EXPECT_EQ(machine.report(), 1u);
    runner.join();
    EXPECT_EQ(second, 'U');
}

TEST(Processors, AnotherIsStartedByTheApicPage) {
    GuestMachine machine{4u << 20, 2};
    machine.load(CODE(starts_another_by_page));
    machine.load(CODE(real_mode), GuestMachine::startup_gpa);
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, 0xfee00000);
    std::optional<std::uint32_t> second;
    std::jthread runner{[&] {
        second = machine.report(1);
    }};
    const auto version = machine.report();
    ASSERT_TRUE(version.has_value());
    EXPECT_GE(*version & 0xff, 0x10u);
    runner.join();
    EXPECT_EQ(second, 'U');
}

/// The guest's reference time, in 100 ns, and moments of the root's clock before and after.
struct ClockReading {
    std::chrono::steady_clock::time_point before;
    std::uint64_t guest = 0;
    std::chrono::steady_clock::time_point after;
};

/// Both clocks at a moment in which nobody else had the processor: others may have it between the
/// guest's look at its clock and the root's at its own for longer than the clocks may differ.
ClockReading read_clocks(GuestMachine& machine) {
    constexpr std::chrono::milliseconds moment{2};
    ClockReading reading;
    do {
        reading.before = std::chrono::steady_clock::now();
        const bool told = machine.report().has_value();
        reading.after = std::chrono::steady_clock::now();
        reading.guest = machine.get(HV_X64_REGISTER_RBX);
        if (!told) {
            ADD_FAILURE() << "the guest was stopped by "
                          << std::uint32_t{machine.message().header.message_type};
            break;
        }
    } while (reading.after - reading.before > moment);
    return reading;
}

TEST(Clock, ReferenceTimeGoesAsFastAsTheRootsClock) {
    using namespace std::chrono;
    GuestMachine machine;
    machine.load(CODE(clock));
    machine.start_in_long_mode();
    const ClockReading first = read_clocks(machine);
    std::this_thread::sleep_for(seconds{2}); // what is measured, not waited for
    const ClockReading second = read_clocks(machine);
    const auto guest = static_cast<double>(second.guest - first.guest) * 1e-7;
    EXPECT_GT(guest, 0.99 * duration<double>(second.before - first.after).count());
    EXPECT_LT(guest, 1.01 * duration<double>(second.after - first.before).count());
}

TEST(State, FloatingPointIsTheGuestsOwn) {
    GuestMachine one;
    GuestMachine two;
    for (GuestMachine* const machine : {&one, &two}) {
        machine->load(CODE(floating_point));
        machine->store<double>(GuestMachine::data_gpa, 1.0);
        machine->start_in_long_mode();
        machine->set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
    }
    const auto set_xmm0 = [](GuestMachine& machine, double value) {
        auto assoc = hv::register_name(HV_X64_REGISTER_XMM0);
        std::memcpy(&assoc.value, &value, sizeof value);
        machine.vp().set_registers(std::array{assoc});
    };
    set_xmm0(one, 1.5);
    set_xmm0(two, 10.5);
    ASSERT_TRUE(one.report().has_value());
    ASSERT_TRUE(two.report().has_value());
    EXPECT_EQ(std::bit_cast<double>(one.get(HV_X64_REGISTER_RBX)), 2.5);
    EXPECT_EQ(std::bit_cast<double>(two.get(HV_X64_REGISTER_RBX)), 11.5);
    EXPECT_EQ(std::bit_cast<double>(one.get(HV_X64_REGISTER_XMM0)), 2.5);
}

TEST(State, IsReadAndSetAgain) {
    GuestMachine machine;
    for (const hv::VpState which :
        {hv::VpState::local_apic, hv::VpState::xsave, hv::VpState::synthetic_timers}) {
        const auto state = machine.vp().get_state(which);
        ASSERT_FALSE(state.empty());
        machine.vp().set_state(which, state);
        EXPECT_EQ(machine.vp().get_state(which), state);
    }
}

TEST(Scheduling, ASpinningGuestIsStoppedBySignal) {
    GuestMachine machine;
    machine.load(CODE(spins));
    machine.start_in_long_mode();
    machine.set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
    struct sigaction action {};
    action.sa_handler = [](int) {
    };
    sigaction(SIGUSR1, &action, nullptr);
    std::atomic<bool> done{false};
    auto result = hv::RunResult::intercepted;
    std::thread runner{[&] {
        result = machine.vp().run();
        done = true;
    }};
    const auto* const counter =
        reinterpret_cast<const volatile std::uint64_t*>(machine.memory() + GuestMachine::data_gpa);
    while (*counter < 100000) {
        std::this_thread::yield();
    }
    while (!done) {
        pthread_kill(runner.native_handle(), SIGUSR1);
        std::this_thread::yield();
    }
    runner.join();
    EXPECT_EQ(result, hv::RunResult::interrupted);
    const std::uint64_t stopped = *counter;
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
    EXPECT_EQ(*counter, stopped); // it really stands still
}

TEST(Scheduling, MoreProcessorsThanTheMachineHasAllGetTheirTurn) {
    constexpr unsigned guests = 6;
    struct sigaction action {};
    action.sa_handler = [](int) {
    };
    sigaction(SIGUSR1, &action, nullptr);
    std::vector<std::unique_ptr<GuestMachine>> machines;
    std::vector<std::thread> runners;
    std::atomic<unsigned> running{guests};
    for (unsigned i = 0; i < guests; ++i) {
        machines.push_back(std::make_unique<GuestMachine>());
        machines.back()->load(CODE(spins));
        machines.back()->start_in_long_mode();
        machines.back()->set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
    }
    for (auto& machine : machines) {
        runners.emplace_back([&machine, &running] {
            (void)machine->vp().run();
            --running;
        });
    }
    const auto counter = [&machines](unsigned i) {
        return *reinterpret_cast<const volatile std::uint64_t*>(
            machines[i]->memory() + GuestMachine::data_gpa);
    };
    for (unsigned i = 0; i < guests; ++i) {
        while (counter(i) < 100000) {
            std::this_thread::sleep_for(std::chrono::milliseconds{1}); // lets the guests run
        }
    }
    while (running != 0) {
        for (auto& runner : runners) {
            pthread_kill(runner.native_handle(), SIGUSR1);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    for (auto& runner : runners) {
        runner.join();
    }
}

} // namespace

} // namespace croft::guests
