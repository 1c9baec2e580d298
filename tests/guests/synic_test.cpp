// SPDX-License-Identifier: Apache-2.0
// Messages, event flags and synthetic timers as a guest sees them, and how they get to it.
#include "abi/hypercall.h"
#include "abi/msr.h"
#include "abi/port.h"
#include "abi/synic.h"
#include "hv/deliverability.hpp"
#include "hv/error.hpp"
#include "tests/guests/guest_code.hpp"
#include "tests/guests/guest_machine.hpp"

#include <array>
#include <gtest/gtest.h>
#include <thread>
#include <utility>
#include <vector>

GUEST(takes_interrupts)
GUEST(handles_message_2)
GUEST(handles_message_4)
GUEST(handles_events_3)
GUEST(handles_vector)
GUEST(posts_message)

namespace croft::guests {

namespace {

constexpr std::uint32_t x2apic_spurious = 0x80f;
constexpr std::uint64_t message_page = 0xa000;
constexpr std::uint64_t event_page = 0xb000;
constexpr std::uint8_t message_sint = 2;
constexpr std::uint8_t event_sint = 3;
constexpr std::uint8_t timer_sint = 4;
constexpr std::uint8_t message_vector = 0x40;
constexpr std::uint8_t event_vector = 0x41;
constexpr std::uint8_t timer_vector = 0x42;
constexpr std::uint8_t direct_vector = 0x43;
constexpr std::uint32_t message_type = 77;

using Msrs = std::vector<std::pair<std::uint32_t, std::uint64_t>>;

/// A guest whose SynIC is on. It says 1 when it waits for interrupts; what comes then is said by
/// its handlers.
class SynicGuest {
public:
    explicit SynicGuest(const Msrs& more = {}) {
        machine.load(CODE(takes_interrupts));
        machine.start_in_long_mode();
        machine.handle(message_vector, CODE(handles_message_2));
        machine.handle(event_vector, CODE(handles_events_3));
        machine.handle(timer_vector, CODE(handles_message_4));
        machine.handle(direct_vector, CODE(handles_vector));
        Msrs all{
            {x2apic_spurious, 0x1ff},
            {HV_X64_MSR_SIMP, message_page | HV_MSR_PAGE_ENABLE},
            {HV_X64_MSR_SIEFP, event_page | HV_MSR_PAGE_ENABLE},
            {HV_X64_MSR_SCONTROL, 1},
            {HV_X64_MSR_SINT0 + message_sint, message_vector},
            {HV_X64_MSR_SINT0 + event_sint, event_vector},
            {HV_X64_MSR_SINT0 + timer_sint, timer_vector},
        };
        all.insert(all.end(), more.begin(), more.end());
        all.emplace_back(0, 0);
        std::uint64_t at = GuestMachine::data_gpa;
        for (const auto& [number, value] : all) {
            machine.store(at, std::uint64_t{number});
            machine.store(at + 8, value);
            at += 16;
        }
        machine.set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
    }

    /// The next things it says.
    std::vector<std::uint32_t> reports(std::size_t count) {
        std::vector<std::uint32_t> result;
        for (std::size_t i = 0; i < count; ++i) {
            const auto one = machine.report();
            if (!one) {
                ADD_FAILURE() << "the guest was stopped by message " << std::hex
                              << machine.message().header.message_type;
                break;
            }
            result.push_back(*one);
        }
        return result;
    }

    bool post(std::uint32_t first, std::uint64_t second, std::uint8_t sint = message_sint) {
        hv_message message{};
        message.header.message_type = message_type;
        message.header.payload_size = 16;
        std::memcpy(message.payload, &first, sizeof first);
        std::memcpy(message.payload + 8, &second, sizeof second);
        return machine.partition().post_message(0, sint, message);
    }

    GuestMachine machine;
};

using Reports = std::vector<std::uint32_t>;

constexpr std::uint64_t timer_message_config(bool periodic) {
    return 1 | (periodic ? 2 : 0) | (std::uint64_t{timer_sint} << 16);
}

TEST(Messages, OneArrivesInItsSlotWithItsInterrupt) {
    SynicGuest guest;
    ASSERT_EQ(guest.reports(1), Reports{1});
    EXPECT_TRUE(guest.post(11, 12));
    EXPECT_EQ(guest.reports(4), (Reports{message_type, 11, 12, 0}));
}

TEST(Messages, ASecondOneFindsTheSlotTakenUntilTheGuestHasFreedIt) {
    SynicGuest guest;
    ASSERT_EQ(guest.reports(1), Reports{1});
    EXPECT_TRUE(guest.post(21, 22));
    EXPECT_FALSE(guest.post(31, 32));
    // The mark that one waits makes the guest end the message.
    EXPECT_EQ(guest.reports(4), (Reports{message_type, 21, 22, 1}));
    EXPECT_TRUE(guest.post(31, 32));
    EXPECT_EQ(guest.reports(4), (Reports{message_type, 31, 32, 0}));
}

TEST(Messages, OneWakesAHaltedProcessor) {
    SynicGuest guest;
    ASSERT_EQ(guest.reports(1), Reports{1});
    std::vector<std::uint32_t> said;
    std::jthread runner{[&] {
        said = guest.reports(4);
    }};
    EXPECT_TRUE(guest.post(41, 42));
    runner.join();
    EXPECT_EQ(said, (Reports{message_type, 41, 42, 0}));
}

/// Runs the guest until its parent is told of free slots.
std::uint16_t told_of(SynicGuest& guest) {
    EXPECT_EQ(guest.machine.report(), std::nullopt);
    return hv::deliverable_sints(guest.machine.message());
}

std::uint64_t asked(SynicGuest& guest) {
    return guest.machine.get(HV_X64_REGISTER_DELIVERABILITY_NOTIFICATIONS);
}

/// As if its next instruction had been HLT.
void halt(SynicGuest& guest) {
    hv_internal_activity_register state{};
    state.halt_suspend = 1;
    guest.machine.set(HV_REGISTER_INTERNAL_ACTIVITY_STATE, state.as_uint64);
}

constexpr std::uint16_t message_bit = 1u << message_sint;

TEST(Deliverability, OfASlotThatIsTakenIsToldOnceTheGuestHasFreedIt) {
    SynicGuest guest;
    ASSERT_EQ(guest.reports(1), Reports{1});
    ASSERT_TRUE(guest.post(21, 22));
    guest.machine.partition().notify_deliverable(0, message_bit);
    EXPECT_EQ(asked(guest), std::uint64_t{message_bit} << 48);
    // Nobody has tried to post another one: the mark is there because of the question.
    EXPECT_EQ(guest.reports(4), (Reports{message_type, 21, 22, 1}));
    EXPECT_EQ(told_of(guest), message_bit);
    EXPECT_EQ(asked(guest), 0u);
    EXPECT_TRUE(guest.post(31, 32));
    // What stops the guest next is its own: it was told of the slot once.
    EXPECT_EQ(guest.reports(4), (Reports{message_type, 31, 32, 0}));
    EXPECT_TRUE(guest.machine.partition().signal_event(0, event_sint, 9));
    EXPECT_EQ(guest.reports(1), Reports{9});
}

TEST(Deliverability, OfASlotThatIsFreeIsToldAtOnce) {
    SynicGuest guest;
    ASSERT_EQ(guest.reports(1), Reports{1});
    guest.machine.partition().notify_deliverable(0, message_bit);
    EXPECT_EQ(told_of(guest), message_bit);
    const auto message = guest.machine.payload<hv_x64_sint_deliverable_message>();
    EXPECT_EQ(message.header.rip, guest.machine.get(HV_X64_REGISTER_RIP));
    EXPECT_TRUE(guest.machine.partition().signal_event(0, event_sint, 9));
    EXPECT_EQ(guest.reports(1), Reports{9});
}

TEST(Deliverability, IsToldOfAProcessorThatRuns) {
    SynicGuest guest;
    ASSERT_EQ(guest.reports(1), Reports{1});
    ASSERT_TRUE(guest.post(21, 22));
    ASSERT_EQ(guest.reports(1), Reports{message_type}); // the slot is taken as yet
    std::uint16_t told = 0;
    Reports said;
    std::jthread runner{[&] {
        said = guest.reports(3);
        told = told_of(guest);
    }};
    guest.machine.partition().notify_deliverable(0, message_bit);
    runner.join();
    EXPECT_EQ(said.size(), 3u);
    EXPECT_EQ(told, message_bit);
}

TEST(Deliverability, IsToldOfAProcessorThatIsHalted) {
    SynicGuest guest;
    ASSERT_EQ(guest.reports(1), Reports{1});
    halt(guest);
    guest.machine.partition().notify_deliverable(0, message_bit);
    EXPECT_EQ(told_of(guest), message_bit);
}

TEST(Deliverability, OfASlotWithoutAPageIsToldWhenThereIsOne) {
    SynicGuest guest{{{HV_X64_MSR_SIMP, 0}}};
    ASSERT_EQ(guest.reports(1), Reports{1});
    guest.machine.partition().notify_deliverable(0, message_bit);
    EXPECT_TRUE(guest.machine.partition().signal_event(0, event_sint, 9));
    EXPECT_EQ(guest.reports(1), Reports{9});
    halt(guest);
    guest.machine.set(HV_REGISTER_SIMP, message_page | HV_MSR_PAGE_ENABLE);
    EXPECT_EQ(told_of(guest), message_bit);
}

TEST(Deliverability, OfInterruptsIsNotToBeHad) {
    SynicGuest guest;
    for (const unsigned bit : {0u, 1u, 2u, 6u, 47u}) {
        EXPECT_THROW(guest.machine.set(HV_X64_REGISTER_DELIVERABILITY_NOTIFICATIONS, 1ull << bit),
            hv::HypervisorError);
    }
    EXPECT_EQ(asked(guest), 0u);
}

TEST(Messages, NoneArrivesWithoutAPageForIt) {
    SynicGuest guest{{{HV_X64_MSR_SIMP, 0}}};
    ASSERT_EQ(guest.reports(1), Reports{1});
    EXPECT_FALSE(guest.post(1, 2));
}

TEST(Messages, AreRefusedForWhatIsNotThere) {
    SynicGuest guest;
    ASSERT_EQ(guest.reports(1), Reports{1});
    EXPECT_THROW(guest.post(1, 2, HV_SYNIC_SINT_COUNT), hv::HypervisorError);
    EXPECT_THROW((void)guest.machine.partition().post_message(1, message_sint, hv_message{}),
        hv::HypervisorError);
}

TEST(Messages, OneOfTheGuestsIsForTheParentWhoGivesTheResult) {
    constexpr std::uint64_t input = 0xd000;
    GuestMachine machine;
    machine.load(CODE(posts_message));
    hv_input_post_message sent{};
    sent.connection_id = 1;
    sent.message_type = message_type;
    sent.payload_size = 5;
    std::memcpy(sent.payload, "hello", 5);
    machine.store(input, sent);
    machine.start_in_long_mode();
    ASSERT_EQ(machine.report(), std::nullopt);
    ASSERT_EQ(machine.message().header.message_type, HVMSG_HYPERCALL_INTERCEPT);
    const auto call = machine.payload<hv_x64_hypercall_intercept_message>();
    EXPECT_EQ(call.rcx & HV_HYPERCALL_CODE_MASK, HVCALL_POST_MESSAGE);
    ASSERT_EQ(call.rdx, input);
    hv_input_post_message received{};
    std::memcpy(&received, machine.memory() + call.rdx, sizeof received);
    EXPECT_EQ(received.connection_id, 1u);
    EXPECT_EQ(std::memcmp(&received, &sent, sizeof sent), 0);
    machine.set(HV_X64_REGISTER_RAX, HV_STATUS_INSUFFICIENT_BUFFERS);
    machine.set(HV_X64_REGISTER_RIP, call.header.rip + call.header.instruction_length);
    EXPECT_EQ(machine.report(), HV_STATUS_INSUFFICIENT_BUFFERS);
}

TEST(Events, AFlagIsSetAndItsInterruptComesOnce) {
    SynicGuest guest;
    ASSERT_EQ(guest.reports(1), Reports{1});
    hv::Partition& partition = guest.machine.partition();
    EXPECT_TRUE(partition.signal_event(0, event_sint, 777));
    EXPECT_FALSE(partition.signal_event(0, event_sint, 777)); // it is set already
    EXPECT_EQ(guest.reports(1), Reports{777});
    // Had there been a second interrupt for the first flag, it would have found none set.
    EXPECT_TRUE(partition.signal_event(0, event_sint, 0));
    EXPECT_EQ(guest.reports(1), Reports{0});
    EXPECT_TRUE(partition.signal_event(0, event_sint, 2047));
    EXPECT_EQ(guest.reports(1), Reports{2047});
}

TEST(Events, AFlagWakesAHaltedProcessor) {
    SynicGuest guest;
    ASSERT_EQ(guest.reports(1), Reports{1});
    std::vector<std::uint32_t> said;
    std::jthread runner{[&] {
        said = guest.reports(1);
    }};
    EXPECT_TRUE(guest.machine.partition().signal_event(0, event_sint, 5));
    runner.join();
    EXPECT_EQ(said, Reports{5});
}

TEST(Events, AreRefusedForWhatIsNotThere) {
    SynicGuest guest;
    ASSERT_EQ(guest.reports(1), Reports{1});
    hv::Partition& partition = guest.machine.partition();
    EXPECT_THROW(partition.signal_event(0, HV_SYNIC_SINT_COUNT, 0), hv::HypervisorError);
    EXPECT_THROW(partition.signal_event(0, event_sint, HV_EVENT_FLAGS_COUNT), hv::HypervisorError);
    EXPECT_THROW(partition.signal_event(1, event_sint, 0), hv::HypervisorError);
}

TEST(Timers, OneShotPostsItsMessage) {
    SynicGuest guest{{
        {HV_X64_MSR_STIMER0_CONFIG, timer_message_config(false)},
        {HV_X64_MSR_STIMER0_CONFIG + 1, 5000},
    }};
    ASSERT_EQ(guest.reports(1), Reports{1});
    // The timer's index, and the time for which it was set.
    EXPECT_EQ(guest.reports(4), (Reports{HVMSG_TIMER_EXPIRED, 0, 5000, 0}));
    // It was the only one: what the guest says next is of another source.
    EXPECT_TRUE(guest.machine.partition().signal_event(0, event_sint, 9));
    EXPECT_EQ(guest.reports(1), Reports{9});
}

TEST(Timers, APeriodicOneKeepsToItsGrid) {
    constexpr std::uint32_t period = 20000;
    SynicGuest guest{{
        {HV_X64_MSR_STIMER0_CONFIG + 2, timer_message_config(true)},
        {HV_X64_MSR_STIMER0_CONFIG + 3, period},
    }};
    ASSERT_EQ(guest.reports(1), Reports{1});
    std::uint32_t before = 0;
    for (unsigned i = 0; i < 5; ++i) {
        const auto said = guest.reports(4);
        ASSERT_EQ(said.size(), 4u);
        EXPECT_EQ(said[0], std::uint32_t{HVMSG_TIMER_EXPIRED});
        EXPECT_EQ(said[1], 1u); // the timer's index
        if (i > 0) {
            EXPECT_GT(said[2], before);
            EXPECT_EQ((said[2] - before) % period, 0u);
        }
        before = said[2];
    }
}

TEST(Timers, ADirectOneNeedsNoMessage) {
    constexpr std::uint64_t direct = 1 | (std::uint64_t{direct_vector} << 4) | (1u << 12);
    SynicGuest guest{{
        {HV_X64_MSR_SIMP, 0},
        {HV_X64_MSR_STIMER0_CONFIG + 4, direct},
        {HV_X64_MSR_STIMER0_CONFIG + 5, 5000},
    }};
    ASSERT_EQ(guest.reports(1), Reports{1});
    EXPECT_EQ(guest.reports(1), Reports{direct_vector});
}

} // namespace

} // namespace croft::guests
