// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/synic/synic.hpp"

#include "tests/unit/hypervisor/synic_fixture.hpp"

#include <array>
#include <mutex>
#include <thread>
#include <vector>

namespace hypervisor {
namespace {

SynicMessage message_with(std::uint64_t content, std::uint32_t type = HVMSG_TIMER_EXPIRED) {
    SynicMessage message;
    message.set(type, 77, content);
    return message;
}

TEST(Synic, IsOffAndMaskedAfterReset) {
    Synic synic;
    synic.reset();
    EXPECT_EQ(synic.control(), 0u);
    EXPECT_EQ(synic.message_page(), nullptr);
    EXPECT_EQ(synic.event_flags_page(), nullptr);
    for (unsigned sint = 0; sint < HV_SYNIC_SINT_COUNT; ++sint) {
        EXPECT_EQ(synic.sint(sint), 0x10000u) << "the value at reset that the TLFS gives";
    }
}

TEST_F(SynicTest, VectorsBelowSixteenAreNoVectors) {
    for (std::uint64_t vector = 0; vector < 16; ++vector) {
        EXPECT_FALSE(synic_.set_sint(5, vector));
        EXPECT_EQ(synic_.sint(5), masked) << "what is refused changes nothing";
    }
    EXPECT_TRUE(synic_.set_sint(5, 16));
    EXPECT_EQ(synic_.sint(5), 16u);
    // Where no interrupt is raised, the vector says nothing.
    EXPECT_TRUE(synic_.set_sint(5, masked));
    EXPECT_TRUE(synic_.set_sint(5, polling));
}

TEST_F(SynicTest, KnowsWhichVectorsEndByThemselves) {
    EXPECT_FALSE(synic_.is_auto_eoi(0x52));
    EXPECT_TRUE(synic_.is_auto_eoi(0x53));
    ASSERT_TRUE(synic_.set_sint(3, 0x53 | auto_eoi | masked));
    EXPECT_FALSE(synic_.is_auto_eoi(0x53));
}

TEST_F(SynicTest, PutsAMessageIntoAFreeSlot) {
    SynicMessage message = message_with(0x1122334455667788);
    const auto interrupt = synic_.post(2, message);
    ASSERT_TRUE(interrupt);
    EXPECT_EQ(interrupt->vector, 0x52);
    EXPECT_FALSE(interrupt->auto_eoi);
    EXPECT_FALSE(message.queued);
    const hv_message seen = slot(2).read();
    EXPECT_EQ(seen.header.message_type, std::uint32_t{HVMSG_TIMER_EXPIRED});
    EXPECT_EQ(seen.header.payload_size, 8);
    EXPECT_EQ(seen.header.message_flags, 0);
    EXPECT_EQ(std::uint64_t{seen.header.sender}, 77u);
    EXPECT_EQ(slot(2).payload<std::uint64_t>(), 0x1122334455667788u);
    for (unsigned other = 0; other < HV_SYNIC_SINT_COUNT; ++other) {
        EXPECT_TRUE(other == 2 || slot(other).type() == HVMSG_NONE);
    }
    SynicMessage next = message_with(1);
    EXPECT_TRUE(synic_.post(3, next)->auto_eoi);
}

TEST_F(SynicTest, MessagesWaitInTheirOrder) {
    std::array<SynicMessage, 4> messages;
    for (std::uint64_t i = 0; i < messages.size(); ++i) {
        messages[i] = message_with(100 + i);
        EXPECT_EQ(synic_.post(2, messages[i]).has_value(), i == 0);
        EXPECT_EQ(messages[i].queued, i != 0);
    }
    for (std::uint64_t i = 0; i < messages.size(); ++i) {
        EXPECT_EQ(slot(2).payload<std::uint64_t>(), 100 + i);
        EXPECT_FALSE(messages[i].queued);
        const bool more = i + 1 < messages.size();
        EXPECT_EQ(slot(2).free(), more) << "an exit for nothing, or a message that is never read";
        EXPECT_EQ(synic_.end_of_message().has_value(), more);
    }
    EXPECT_EQ(slot(2).type(), HVMSG_NONE);
}

TEST_F(SynicTest, AMessageWaitsOnce) {
    SynicMessage first = message_with(1);
    SynicMessage second = message_with(2);
    (void)synic_.post(2, first);
    EXPECT_FALSE(synic_.post(2, second));
    EXPECT_FALSE(synic_.post(2, second));
    slot(2).free();
    EXPECT_TRUE(synic_.end_of_message());
    EXPECT_EQ(slot(2).payload<std::uint64_t>(), 2u);
    slot(2).free();
    EXPECT_FALSE(synic_.end_of_message());
    EXPECT_EQ(slot(2).type(), HVMSG_NONE);
    EXPECT_TRUE(synic_.post(2, second)) << "it can be posted again once it was delivered";
}

TEST_F(SynicTest, AnEndOfMessageBeforeTheSlotIsFreeDeliversNothing) {
    SynicMessage first = message_with(1);
    SynicMessage second = message_with(2);
    (void)synic_.post(2, first);
    (void)synic_.post(2, second);
    EXPECT_FALSE(synic_.end_of_message());
    EXPECT_EQ(slot(2).payload<std::uint64_t>(), 1u);
    EXPECT_TRUE(second.queued);
    EXPECT_TRUE(slot(2).pending());
}

TEST_F(SynicTest, EachSlotFreedGetsItsMessageAndItsInterrupt) {
    // A guest empties two slots and says so once.
    std::array<SynicMessage, 4> messages{
        message_with(1), message_with(2), message_with(3), message_with(4)};
    (void)synic_.post(2, messages[0]);
    (void)synic_.post(3, messages[1]);
    (void)synic_.post(2, messages[2]);
    (void)synic_.post(3, messages[3]);
    slot(2).free();
    slot(3).free();
    std::array<unsigned, 256> raised{};
    for (auto interrupt = synic_.end_of_message(); interrupt;) {
        ++raised[interrupt->vector];
        // The guest serves what it was interrupted for.
        Slot served = slot(interrupt->vector - 0x50u);
        EXPECT_NE(served.type(), HVMSG_NONE);
        interrupt = served.free() ? synic_.end_of_message() : std::nullopt;
    }
    EXPECT_EQ(raised[0x52], 1u);
    EXPECT_EQ(raised[0x53], 1u);
    EXPECT_EQ(slot(2).type(), HVMSG_NONE);
    EXPECT_EQ(slot(3).type(), HVMSG_NONE);
}

TEST_F(SynicTest, AMaskedSlotGetsMessagesWithoutInterrupts) {
    SynicMessage first = message_with(1);
    EXPECT_FALSE(synic_.post(5, first));
    EXPECT_EQ(slot(5).payload<std::uint64_t>(), 1u);
    ASSERT_TRUE(synic_.set_sint(6, polling));
    EXPECT_FALSE(synic_.post(6, first));
    EXPECT_EQ(slot(6).payload<std::uint64_t>(), 1u);
}

TEST_F(SynicTest, WithoutAPageMessagesWait) {
    SynicMessage first = message_with(1);
    SynicMessage second = message_with(2);
    synic_.set_control(0);
    EXPECT_FALSE(synic_.post(2, first));
    EXPECT_TRUE(first.queued);
    EXPECT_EQ(slot(2).type(), HVMSG_NONE);
    EXPECT_FALSE(synic_.end_of_message());
    synic_.set_control(enabled);
    synic_.set_message_page(nullptr);
    EXPECT_FALSE(synic_.end_of_message());
    synic_.set_message_page(&pages_->messages);
    EXPECT_TRUE(synic_.end_of_message()) << "what the owner calls once it is on";
    EXPECT_EQ(slot(2).payload<std::uint64_t>(), 1u);
    (void)second;
}

TEST_F(SynicTest, AMessageThatWaitedForAPageHoldsNothingUp) {
    SynicMessage first = message_with(1);
    SynicMessage second = message_with(2);
    synic_.set_control(0);
    (void)synic_.post(2, first);
    synic_.set_control(enabled);
    // No end of message will come: the slot has never been full.
    EXPECT_TRUE(synic_.post(2, second));
    EXPECT_EQ(slot(2).payload<std::uint64_t>(), 1u);
    ASSERT_TRUE(slot(2).free());
    EXPECT_TRUE(synic_.end_of_message());
    EXPECT_EQ(slot(2).payload<std::uint64_t>(), 2u);
}

TEST_F(SynicTest, WithdrawsFromAnywhereInTheQueue) {
    for (unsigned gone = 0; gone < 5; ++gone) {
        std::array<SynicMessage, 5> messages;
        for (std::uint64_t i = 0; i < messages.size(); ++i) {
            messages[i] = message_with(i);
            (void)synic_.post(2, messages[i]);
        }
        synic_.withdraw(2, messages[gone]); // the first has been delivered: nothing is taken back
        synic_.withdraw(2, messages[gone]);
        EXPECT_FALSE(messages[gone].queued);
        std::vector<std::uint64_t> seen;
        while (slot(2).type() != HVMSG_NONE) {
            seen.push_back(slot(2).payload<std::uint64_t>());
            if (slot(2).free()) {
                (void)synic_.end_of_message();
            }
        }
        std::vector<std::uint64_t> expected{0, 1, 2, 3, 4};
        if (gone != 0) {
            std::erase(expected, gone);
        }
        EXPECT_EQ(seen, expected);
        // The queue is sound behind what was the last.
        SynicMessage last = message_with(9);
        EXPECT_TRUE(synic_.post(2, last));
        slot(2).free();
    }
}

TEST_F(SynicTest, ResetForgetsWhatWaits) {
    SynicMessage first = message_with(1);
    SynicMessage second = message_with(2);
    SynicMessage third = message_with(3);
    (void)synic_.post(2, first);
    (void)synic_.post(2, second);
    (void)synic_.post(2, third);
    synic_.reset();
    EXPECT_FALSE(second.queued);
    EXPECT_FALSE(third.queued);
    synic_.set_message_page(&pages_->messages);
    synic_.set_control(enabled);
    slot(2).free();
    EXPECT_FALSE(synic_.end_of_message());
    EXPECT_EQ(slot(2).type(), HVMSG_NONE);
    (void)synic_.post(2, third);
    EXPECT_EQ(slot(2).payload<std::uint64_t>(), 3u);
}

TEST_F(SynicTest, APostOfFullSizeIsNowOrNotAtAll) {
    hv_message message{};
    message.header.message_type = 1;
    message.header.payload_size = HV_MESSAGE_PAYLOAD_BYTE_COUNT;
    message.header.sender = 5;
    for (unsigned i = 0; i < HV_MESSAGE_PAYLOAD_BYTE_COUNT; ++i) {
        message.payload[i] = static_cast<std::uint8_t>(i * 7);
    }
    std::optional<Synic::Interrupt> interrupt;
    ASSERT_TRUE(synic_.try_post(2, message, interrupt));
    ASSERT_TRUE(interrupt);
    EXPECT_EQ(interrupt->vector, 0x52);
    const hv_message seen = slot(2).read();
    EXPECT_EQ(std::memcmp(&seen, &message, sizeof seen), 0);
    EXPECT_FALSE(slot(2).pending());
    EXPECT_FALSE(synic_.try_post(2, message, interrupt));
    EXPECT_TRUE(slot(2).free()) << "the guest is asked to say when the slot is free";
    EXPECT_FALSE(synic_.end_of_message());
    EXPECT_TRUE(synic_.try_post(2, message, interrupt));
    synic_.set_control(0);
    EXPECT_FALSE(synic_.try_post(4, message, interrupt));
}

TEST_F(SynicTest, TellsOnceOfASlotThatIsFreeWhenItIsAsked) {
    EXPECT_EQ(synic_.notifications(), 0u);
    synic_.notify_deliverable(1u << 2 | 1u << 3);
    EXPECT_EQ(synic_.notifications(), 1u << 2 | 1u << 3);
    EXPECT_EQ(synic_.take_deliverable(), 1u << 2 | 1u << 3);
    EXPECT_EQ(synic_.notifications(), 0u);
    EXPECT_EQ(synic_.take_deliverable(), 0u);
}

TEST_F(SynicTest, TellsOfASlotWhenTheGuestHasFreedIt) {
    SynicMessage message = message_with(1);
    (void)synic_.post(2, message);
    EXPECT_FALSE(slot(2).pending());
    synic_.notify_deliverable(1u << 2 | 1u << 3);
    EXPECT_EQ(synic_.take_deliverable(), 1u << 3) << "the one that is free, at once";
    EXPECT_EQ(synic_.notifications(), 1u << 2);
    EXPECT_TRUE(slot(2).free()) << "the guest is asked to say when the slot is free";
    EXPECT_EQ(synic_.take_deliverable(), 1u << 2);
    EXPECT_EQ(synic_.notifications(), 0u);
}

TEST_F(SynicTest, WhatIsAskedReplacesWhatWasAsked) {
    synic_.notify_deliverable(1u << 2);
    synic_.notify_deliverable(1u << 3);
    EXPECT_EQ(synic_.take_deliverable(), 1u << 3);
    synic_.notify_deliverable(1u << 2);
    synic_.reset();
    EXPECT_EQ(synic_.notifications(), 0u);
}

TEST_F(SynicTest, TellsOfNoSlotThatAMessageWaitsFor) {
    SynicMessage first = message_with(1);
    SynicMessage second = message_with(2);
    (void)synic_.post(2, first);
    (void)synic_.post(2, second);
    synic_.notify_deliverable(1u << 2);
    EXPECT_TRUE(slot(2).free());
    EXPECT_EQ(synic_.take_deliverable(), 0u);
    ASSERT_TRUE(synic_.end_of_message());
    EXPECT_EQ(synic_.take_deliverable(), 0u) << "it has taken the slot";
    EXPECT_TRUE(slot(2).free()) << "or its end would not be told";
    EXPECT_EQ(synic_.take_deliverable(), 1u << 2);
}

TEST_F(SynicTest, TellsOfNoSlotThatIsOff) {
    synic_.notify_deliverable(1u << 2);
    synic_.set_message_page(nullptr);
    EXPECT_EQ(synic_.take_deliverable(), 0u);
    synic_.set_message_page(&pages_->messages);
    synic_.set_control(0);
    EXPECT_EQ(synic_.take_deliverable(), 0u);
    synic_.set_control(enabled);
    EXPECT_EQ(synic_.take_deliverable(), 1u << 2);
}

TEST_F(SynicTest, EventFlagsTellOfTheirFirstSetting) {
    for (const unsigned flag : {0u, 1u, 7u, 8u, 2047u}) {
        bool newly_set = false;
        const auto interrupt = synic_.set_event_flag(2, flag, newly_set);
        EXPECT_TRUE(newly_set);
        ASSERT_TRUE(interrupt);
        EXPECT_EQ(interrupt->vector, 0x52);
        // Flag n is bit n of the 256 bytes of its SINT, as a guest tests it with BT.
        EXPECT_NE(pages_->flags.flags[2][flag / 8] & (1u << (flag % 8)), 0);
        EXPECT_FALSE(synic_.set_event_flag(2, flag, newly_set)) << "the guest knows";
        EXPECT_FALSE(newly_set);
    }
    EXPECT_EQ(pages_->flags.flags[2][0], 0x83);
    EXPECT_EQ(pages_->flags.flags[1][255], 0);
    EXPECT_EQ(pages_->flags.flags[3][0], 0);

    bool newly_set = false;
    EXPECT_FALSE(synic_.set_event_flag(5, 9, newly_set)) << "masked";
    EXPECT_TRUE(newly_set);
    EXPECT_EQ(pages_->flags.flags[5][1], 2);
    synic_.set_control(0);
    EXPECT_FALSE(synic_.set_event_flag(2, 100, newly_set));
    EXPECT_FALSE(newly_set);
    EXPECT_EQ(pages_->flags.flags[2][12], 0);
}

TEST_F(SynicTest, EventFlagsSetByTwoAreAllSet) {
    std::atomic<unsigned> news = 0;
    const auto set_all = [&] {
        for (unsigned flag = 0; flag < HV_EVENT_FLAGS_COUNT; ++flag) {
            bool newly_set = false;
            (void)synic_.set_event_flag(2, flag, newly_set);
            news += newly_set ? 1 : 0;
        }
    };
    std::thread other{set_all};
    set_all();
    other.join();
    EXPECT_EQ(news, HV_EVENT_FLAGS_COUNT);
    for (const std::uint8_t byte : pages_->flags.flags[2]) {
        EXPECT_EQ(byte, 0xff);
    }
}

TEST_F(SynicTest, TellsSintsThatAreIntercepts) {
    EXPECT_FALSE(synic_.is_intercept_sint(2));
    ASSERT_TRUE(synic_.set_sint(2, 0x52 | (1ull << 19)));
    EXPECT_TRUE(synic_.is_intercept_sint(2));
}

// ---- Two processors ----

TEST_F(SynicTest, NoMessageIsLostBetweenTwoProcessors) {
    constexpr std::uint64_t count = 40'000;
    std::atomic<std::uint64_t> received = 0;
    std::atomic<bool> out_of_order = false;
    std::array<SynicMessage, 3> messages{};
    Guest* self = nullptr;
    Guest guest{[&] {
        Slot mine = slot(2);
        if (mine.type() == HVMSG_NONE) {
            return;
        }
        out_of_order = out_of_order || mine.payload<std::uint64_t>() != received;
        ++received;
        if (mine.free()) {
            self->interrupt(synic_.end_of_message());
        }
    }};
    self = &guest;
    for (std::uint64_t i = 0; i < count; ++i) {
        // A message may be used again when the one before it of its kind has arrived.
        if (!comes_true([&] { return received + messages.size() > i; })) {
            FAIL() << "message " << received << " got lost";
        }
        SynicMessage& message = messages[i % messages.size()];
        ASSERT_TRUE(comes_true([&] { return !std::atomic_ref{message.queued}.load(); }));
        message.set(HVMSG_TIMER_EXPIRED, 1, i);
        guest.interrupt(synic_.post(2, message));
    }
    EXPECT_TRUE(comes_true([&] { return received == count; })) << received;
    guest.stop();
    EXPECT_FALSE(out_of_order) << "lost, repeated or out of order";
    EXPECT_EQ(received, count);
}

TEST_F(SynicTest, AParentThatFindsTheSlotTakenIsToldWhenItIsFree) {
    constexpr std::uint64_t count = 40'000;
    std::mutex hold; // of the virtual processor
    std::atomic<std::uint64_t> told = 0;
    std::atomic<std::uint64_t> received = 0;
    const auto enter = [&] {
        const std::lock_guard lock{hold};
        if (synic_.notifications() != 0 && synic_.take_deliverable() != 0) {
            ++told;
        }
    };
    Guest guest{[&] {
        enter();
        Slot mine = slot(2);
        if (mine.type() != HVMSG_NONE) {
            ++received;
            if (mine.free()) {
                (void)synic_.end_of_message();
                enter();
            }
        }
    }};
    hv_message message{};
    message.header.message_type = 1;
    std::uint64_t asked = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        std::optional<Synic::Interrupt> interrupt;
        while (!synic_.try_post(2, message, interrupt)) {
            {
                const std::lock_guard lock{hold};
                synic_.notify_deliverable(1u << 2);
            }
            guest.notify();
            ++asked;
            ASSERT_TRUE(comes_true([&] { return told == asked; }))
                << "nobody told of message " << i;
        }
        guest.interrupt(interrupt);
    }
    EXPECT_TRUE(comes_true([&] { return received == count; })) << received;
    guest.stop();
    EXPECT_EQ(told, asked);
}

// ---- Event rings ----

} // namespace
} // namespace hypervisor
