// SPDX-License-Identifier: Apache-2.0
//
// Both rings against a model of the guest's half, in one thread: every packet arrives as it was
// sent, signals are asked for when they are needed and only then, and no header or packet that a
// guest can write gets further than an error.
#include "vmbus/protocol/ring.hpp"
#include "vmbus/ring/incoming_ring.hpp"
#include "vmbus/ring/outgoing_ring.hpp"
#include "vmbus/testing/guest_ring.hpp"
#include "vmbus/testing/test_memory.hpp"

#include <cstring>
#include <deque>
#include <gtest/gtest.h>
#include <random>

namespace croft::vmbus {
namespace {

using testing::GuestPacket;
using testing::GuestReceiver;
using testing::GuestRing;
using testing::GuestSender;
using testing::TestMemory;

constexpr std::uint32_t largest = 16384;

class RingTest : public ::testing::Test {
protected:
    explicit RingTest(std::uint64_t pages = 4) : pages_(memory_.allocate(pages)) {
        guest_ring().initialize();
    }

    GuestRing guest_ring() { return {pages_, memory_.pages()}; }
    RingMemory ring_memory() { return RingMemory::map(pages_, memory_.pages()).value(); }
    IncomingRing incoming() { return IncomingRing::attach(ring_memory(), largest).value(); }
    OutgoingRing outgoing() { return OutgoingRing::attach(ring_memory()).value(); }

    GuestPacket random_packet(std::size_t most_words) {
        GuestPacket packet;
        packet.transaction_id = random_();
        packet.flags = random_() % 2 == 0 ? 1 : 0;
        packet.payload.resize(random_() % (most_words + 1));
        for (std::uint64_t& word : packet.payload) {
            word = random_();
        }
        return packet;
    }

    static void expect_same(const Packet& found, const GuestPacket& sent) {
        EXPECT_EQ(found.transaction_id, sent.transaction_id);
        EXPECT_EQ(found.completion_requested, sent.flags == 1);
        ASSERT_EQ(found.payload.size(), sent.payload.size() * 8);
        if (!sent.payload.empty()) {
            EXPECT_EQ(
                std::memcmp(found.payload.data(), sent.payload.data(), found.payload.size()), 0);
        }
    }

    static OutgoingPacket outgoing_packet(const GuestPacket& packet) {
        OutgoingPacket result;
        result.transaction_id = packet.transaction_id;
        result.completion_requested = packet.flags == 1;
        result.payload[0] = {reinterpret_cast<const std::uint8_t*>(packet.payload.data()),
            packet.payload.size() * 8};
        return result;
    }

    std::mt19937_64 random_{20};
    TestMemory memory_{64};
    std::vector<std::uint64_t> pages_;
};

TEST_F(RingTest, IncomingPacketsArriveAsSent) {
    GuestSender guest(guest_ring());
    IncomingRing ring = incoming();
    std::deque<GuestPacket> sent;
    unsigned wraps = 0;
    for (unsigned i = 0; i < 20000; ++i) {
        const GuestPacket packet = random_packet(500);
        const std::uint32_t before = guest.ring().load(protocol::ring_write_index);
        if (guest.send(packet) != GuestSender::Sent::full) {
            sent.push_back(packet);
            wraps += guest.ring().load(protocol::ring_write_index) < before ? 1U : 0U;
        }
        for (std::uint64_t reads = random_() % 3; reads != 0; --reads) {
            Packet found;
            const RingResult<bool> there = ring.read(found);
            ASSERT_TRUE(there);
            ASSERT_EQ(*there, !sent.empty());
            if (*there) {
                expect_same(found, sent.front());
                sent.pop_front();
            }
        }
        if (random_() % 4 == 0) {
            EXPECT_FALSE(ring.commit()) << "nobody waits for space";
        }
    }
    EXPECT_GT(wraps, 100U);
}

TEST_F(RingTest, OutgoingPacketsArriveAsSent) {
    GuestReceiver guest(guest_ring());
    OutgoingRing ring = outgoing();
    std::deque<GuestPacket> sent;
    for (unsigned i = 0; i < 20000; ++i) {
        const GuestPacket packet = random_packet(500);
        const RingResult<bool> written = ring.write(outgoing_packet(packet));
        ASSERT_TRUE(written);
        if (*written) {
            sent.push_back(packet);
        }
        (void)ring.commit();
        for (std::uint64_t reads = random_() % 3; reads != 0; --reads) {
            const std::optional<GuestPacket> found = guest.receive();
            ASSERT_EQ(found.has_value(), !sent.empty());
            if (found) {
                EXPECT_EQ(*found, sent.front());
                sent.pop_front();
            }
        }
        EXPECT_FALSE(guest.commit());
    }
}

TEST_F(RingTest, NothingIsVisibleBeforeCommit) {
    GuestReceiver guest(guest_ring());
    OutgoingRing ring = outgoing();
    ASSERT_TRUE(ring.write(outgoing_packet(random_packet(4))).value());
    EXPECT_FALSE(guest.receive());
    EXPECT_TRUE(ring.commit());
    EXPECT_TRUE(guest.receive());
}

TEST_F(RingTest, SignalsAnEmptyUnmaskedRingOnly) {
    GuestReceiver guest(guest_ring());
    OutgoingRing ring = outgoing();
    const auto send = [&] {
        EXPECT_TRUE(ring.write({}).value());
        return ring.commit();
    };
    EXPECT_TRUE(send());
    EXPECT_FALSE(send()) << "it wasn't empty";
    EXPECT_TRUE(guest.receive());
    EXPECT_FALSE(guest.commit());
    EXPECT_FALSE(send()) << "one packet was still there";
    while (guest.receive()) {
    }
    EXPECT_FALSE(guest.commit());
    guest.mask();
    EXPECT_FALSE(send()) << "it was masked";
    EXPECT_TRUE(guest.unmask()) << "and so the guest finds it itself";
    EXPECT_TRUE(guest.receive());
    EXPECT_FALSE(guest.commit());
    EXPECT_FALSE(guest.unmask());
    // Several packets and one commit are one signal.
    EXPECT_TRUE(ring.write({}).value());
    EXPECT_TRUE(ring.write({}).value());
    EXPECT_TRUE(ring.commit());
    EXPECT_FALSE(ring.commit()) << "nothing new";
}

TEST_F(RingTest, MaskIsTheGuestsToSee) {
    GuestSender guest(guest_ring());
    IncomingRing ring = incoming();
    EXPECT_EQ(guest.send({}), GuestSender::Sent::quiet) << "attached rings are masked";
    EXPECT_TRUE(ring.unmask().value());
    ring.mask();
    Packet packet;
    EXPECT_TRUE(ring.read(packet).value());
    EXPECT_FALSE(ring.commit());
    EXPECT_FALSE(ring.unmask().value());
    EXPECT_EQ(guest.send({}), GuestSender::Sent::signal);
    EXPECT_EQ(guest.send({}), GuestSender::Sent::quiet);
}

TEST_F(RingTest, AGuestThatWaitsForSpaceIsSignalledOnce) {
    GuestSender guest(guest_ring());
    IncomingRing ring = incoming();
    GuestPacket packet;
    packet.payload.resize(61); // 512 bytes in the ring
    unsigned count = 0;
    while (guest.send(packet) != GuestSender::Sent::full) {
        ++count;
    }
    EXPECT_EQ(count, 3U * 4096 / 512 - 1) << "never filled to the last byte";
    ASSERT_FALSE(guest.wait_for(2048));
    Packet found;
    unsigned signals = 0;
    for (unsigned taken = 1; taken <= count; ++taken) {
        ASSERT_TRUE(ring.read(found).value());
        const bool signal = ring.commit();
        // 512 bytes were free at first: more than 2048 are after the fourth.
        EXPECT_EQ(signal, taken == 4);
        signals += signal ? 1U : 0U;
    }
    EXPECT_EQ(signals, 1U);
}

TEST_F(RingTest, AGuestThatWantsAllSpaceIsSignalledWhenItIsEmpty) {
    GuestSender guest(guest_ring());
    IncomingRing ring = incoming();
    EXPECT_NE(guest.send({}), GuestSender::Sent::full);
    EXPECT_NE(guest.send({}), GuestSender::Sent::full);
    ASSERT_FALSE(guest.wait_for(3 * 4096 - 1));
    Packet found;
    ASSERT_TRUE(ring.read(found).value());
    EXPECT_FALSE(ring.commit());
    ASSERT_TRUE(ring.read(found).value());
    EXPECT_TRUE(ring.commit());
}

TEST_F(RingTest, AGuestWithoutFlowControlIsNotSignalled) {
    GuestSender guest(guest_ring());
    IncomingRing ring = incoming();
    guest.ring().store(protocol::ring_feature_bits, 0);
    EXPECT_NE(guest.send({}), GuestSender::Sent::full);
    ASSERT_FALSE(guest.wait_for(3 * 4096 - 8));
    Packet found;
    ASSERT_TRUE(ring.read(found).value());
    EXPECT_FALSE(ring.commit());
}

TEST_F(RingTest, TheGuestSignalsTheSpaceThatWeWaitFor) {
    GuestReceiver guest(guest_ring());
    OutgoingRing ring = outgoing();
    const std::vector<std::uint8_t> payload(488); // 512 bytes in the ring
    OutgoingPacket packet;
    packet.payload[0] = payload;
    ASSERT_EQ(packet.size(), 512U);
    while (ring.write(packet).value()) {
    }
    (void)ring.commit();
    EXPECT_FALSE(ring.wait_for_space(512).value());
    ASSERT_TRUE(guest.receive());
    EXPECT_TRUE(guest.commit());
    EXPECT_TRUE(ring.write(packet).value());
    ring.stop_waiting();
    (void)ring.commit();
    ASSERT_TRUE(guest.receive());
    EXPECT_FALSE(guest.commit()) << "nobody waits any more";
    EXPECT_TRUE(ring.wait_for_space(512).value()) << "there is space already";
    ASSERT_TRUE(guest.receive());
    EXPECT_FALSE(guest.commit()) << "so nobody waits";
}

TEST_F(RingTest, RefusesPacketsThatNeverFit) {
    OutgoingRing ring = outgoing();
    const std::vector<std::uint8_t> payload(3 * 4096);
    OutgoingPacket packet;
    packet.payload[0] = payload;
    EXPECT_EQ(ring.write(packet).error(), RingError::packet_too_large);
    packet.payload[0] = std::span(payload).first(3 * 4096 - 32);
    EXPECT_TRUE(ring.write(packet).value());
    EXPECT_EQ(ring.wait_for_space(3 * 4096).error(), RingError::packet_too_large);
}

TEST_F(RingTest, PayloadInTwoPartsAndOddLengths) {
    GuestReceiver guest(guest_ring());
    OutgoingRing ring = outgoing();
    const std::array<std::uint8_t, 8> first = {1, 2, 3, 4, 5, 6, 7, 8};
    const std::array<std::uint8_t, 3> second = {9, 10, 11};
    OutgoingPacket packet;
    packet.type = protocol::PacketType::completion;
    packet.payload = {first, second};
    ASSERT_TRUE(ring.write(packet).value());
    EXPECT_TRUE(ring.commit());
    const std::optional<GuestPacket> found = guest.receive();
    ASSERT_TRUE(found);
    EXPECT_EQ(found->type, 11);
    EXPECT_EQ(found->payload, (std::vector<std::uint64_t>{0x0807060504030201, 0x0b0a09}))
        << "filled up with zeros";
}

TEST_F(RingTest, SendsTransferPages) {
    GuestReceiver guest(guest_ring());
    OutgoingRing ring = outgoing();
    const std::array<protocol::TransferPageRange, 2> ranges = {{{100, 0}, {200, 4096}}};
    const std::array<std::uint8_t, 8> payload = {1};
    OutgoingPacket packet;
    packet.type = protocol::PacketType::transfer_pages;
    packet.completion_requested = true;
    packet.page_set = 0xcafe;
    packet.ranges = ranges;
    packet.payload[0] = payload;
    ASSERT_TRUE(ring.write(packet).value());
    EXPECT_TRUE(ring.commit());
    const std::optional<GuestPacket> found = guest.receive();
    ASSERT_TRUE(found);
    EXPECT_EQ(found->type, 7);
    EXPECT_EQ(found->flags, 1);
    EXPECT_EQ(found->header,
        (std::vector<std::uint64_t>{
            0xcafe | std::uint64_t{2} << 32, 100, 200 | std::uint64_t{4096} << 32}));
    EXPECT_EQ(found->payload, (std::vector<std::uint64_t>{1}));
}

TEST_F(RingTest, ReadsGpaDirectOfBothKinds) {
    GuestSender guest(guest_ring());
    IncomingRing ring = incoming();
    GuestPacket packet;
    packet.type = 9;
    packet.header = {std::uint64_t{2} << 32, 100 | std::uint64_t{50} << 32, 7,
        8192 | std::uint64_t{4095} << 32, 20, 21, 22};
    packet.payload = {5};
    EXPECT_NE(guest.send(packet), GuestSender::Sent::full);
    Packet found;
    ASSERT_TRUE(ring.read(found).value());
    std::vector<PageRange> ranges;
    ASSERT_TRUE(parse_gpa_direct(found, ranges));
    ASSERT_EQ(ranges.size(), 2U);
    EXPECT_EQ(ranges[0].byte_count, 100U);
    EXPECT_EQ(ranges[0].byte_offset, 50U);
    EXPECT_EQ(ranges[0].pages.size(), 1U);
    EXPECT_EQ(ranges[0].pages[0], 7U);
    EXPECT_EQ(ranges[1].pages.size(), 3U);
    EXPECT_EQ(ranges[1].pages[2], 22U);
    EXPECT_EQ(found.payload[0], 5U);
    std::vector<protocol::TransferPageRange> transfer;
    EXPECT_EQ(parse_transfer_pages(found, transfer).error(), RingError::bad_ranges);
}

TEST_F(RingTest, RefusesRangesThatContradictThePacket) {
    const auto parse = [](std::vector<std::uint64_t> header, protocol::PacketType type) {
        Packet packet;
        packet.type = type;
        packet.header = header;
        std::vector<PageRange> ranges;
        std::vector<protocol::TransferPageRange> transfer;
        return type == protocol::PacketType::gpa_direct
            ? parse_gpa_direct(packet, ranges).has_value()
            : parse_transfer_pages(packet, transfer).has_value();
    };
    using enum protocol::PacketType;
    const std::uint64_t one = std::uint64_t{1} << 32;
    EXPECT_TRUE(parse({one, 4096, 1}, gpa_direct));
    EXPECT_TRUE(parse({0}, gpa_direct));
    EXPECT_FALSE(parse({}, gpa_direct));
    EXPECT_FALSE(parse({one}, gpa_direct)) << "no range";
    EXPECT_FALSE(parse({one, 4097, 1}, gpa_direct)) << "a page too few";
    EXPECT_FALSE(parse({one, 1 | std::uint64_t{4096} << 32, 1, 2}, gpa_direct)) << "offset";
    EXPECT_FALSE(parse({one, 0xffffffffffffffff, 1}, gpa_direct));
    EXPECT_FALSE(parse({0xffffffff00000000, 1, 1, 1, 1}, gpa_direct));
    EXPECT_FALSE(parse({2 * one, 4096, 1}, gpa_direct));
    EXPECT_FALSE(parse({one, 4096, 1}, in_band));
    EXPECT_TRUE(parse({one, 4096}, transfer_pages));
    EXPECT_FALSE(parse({2 * one, 4096}, transfer_pages));
    EXPECT_FALSE(parse({}, transfer_pages));
}

TEST_F(RingTest, RefusesBadIndices) {
    for (const std::uint32_t bad : {3U * 4096, 4U, 0xffffffffU, 0xfffffff8U, 1U}) {
        guest_ring().initialize();
        IncomingRing in = incoming();
        guest_ring().store(protocol::ring_write_index, bad);
        Packet packet;
        EXPECT_EQ(in.read(packet).error(), RingError::bad_write_index);
        guest_ring().store(protocol::ring_write_index, 0);
        EXPECT_EQ(in.read(packet).error(), RingError::bad_write_index) << "it stays failed";
        EXPECT_EQ(in.unmask().error(), RingError::bad_write_index);
        EXPECT_FALSE(in.commit());

        OutgoingRing out = outgoing();
        guest_ring().store(protocol::ring_read_index, bad);
        const std::vector<std::uint8_t> payload(3 * 4096 - 512);
        OutgoingPacket large;
        large.payload[0] = payload;
        EXPECT_TRUE(out.write(large).value()) << "there was space when it was attached";
        EXPECT_FALSE(out.commit()) << "the guest isn't where we were";
        EXPECT_EQ(out.write(large).error(), RingError::bad_read_index);
        EXPECT_EQ(out.wait_for_space(64).error(), RingError::bad_read_index);

        EXPECT_EQ(IncomingRing::attach(ring_memory(), largest).error(), RingError::bad_read_index);
        EXPECT_EQ(OutgoingRing::attach(ring_memory()).error(), RingError::bad_read_index);
    }
}

TEST_F(RingTest, IndicesOfOursThatTheGuestChangesMeanNothing) {
    GuestSender guest(guest_ring());
    IncomingRing ring = incoming();
    EXPECT_NE(guest.send({}), GuestSender::Sent::full);
    guest.ring().store(protocol::ring_read_index, 0xffffffff);
    Packet packet;
    EXPECT_TRUE(ring.read(packet).value());
    EXPECT_FALSE(ring.read(packet).value());
    (void)ring.commit();
    EXPECT_EQ(guest.ring().load(protocol::ring_read_index), 24U);
}

TEST_F(RingTest, RefusesBadDescriptors) {
    struct Case {
        std::uint64_t offset8, length8, flags;
        RingError error;
    };
    for (const Case& bad :
        {Case{1, 2, 0, RingError::bad_descriptor}, Case{3, 2, 0, RingError::bad_descriptor},
            Case{0, 0, 0, RingError::bad_descriptor}, Case{2, 4, 0, RingError::packet_cut_off},
            Case{2, 0xffff, 0, RingError::packet_cut_off}, Case{2, 2, 2, RingError::bad_flags},
            Case{2, 2, 0xffff, RingError::bad_flags}}) {
        GuestSender guest(guest_ring());
        guest.ring().initialize();
        IncomingRing ring = incoming();
        GuestPacket packet_of_one_word;
        packet_of_one_word.payload = {1};
        EXPECT_NE(guest.send(packet_of_one_word), GuestSender::Sent::full);
        guest.ring().set_word(0, 6 | bad.offset8 << 16 | bad.length8 << 32 | bad.flags << 48);
        Packet packet;
        EXPECT_EQ(ring.read(packet).error(), bad.error);
    }
}

TEST_F(RingTest, RefusesWhatIsTooShortOrTooLong) {
    GuestSender guest(guest_ring());
    IncomingRing ring = incoming();
    guest.ring().store(protocol::ring_write_index, 16);
    Packet packet;
    EXPECT_EQ(ring.read(packet).error(), RingError::packet_cut_off);

    guest.ring().initialize();
    IncomingRing narrow = IncomingRing::attach(ring_memory(), 64).value();
    GuestPacket large;
    large.payload.resize(7);
    EXPECT_NE(guest.send(large), GuestSender::Sent::full);
    EXPECT_EQ(narrow.read(packet).error(), RingError::packet_too_large);
}

TEST_F(RingTest, RefusesPagesThatAreNoMemory) {
    EXPECT_EQ(RingMemory::map(std::vector<std::uint64_t>{pages_[0], 0}, memory_.pages()).error(),
        RingError::not_memory);
    EXPECT_EQ(RingMemory::map(std::vector<std::uint64_t>{pages_[0]}, memory_.pages()).error(),
        RingError::bad_size);
    EXPECT_EQ(RingMemory::map({}, memory_.pages()).error(), RingError::bad_size);
}

TEST_F(RingTest, GarbageIsAnErrorOrAPacket) {
    for (unsigned round = 0; round < 3000; ++round) {
        GuestRing guest = guest_ring();
        guest.initialize();
        IncomingRing in = incoming();
        OutgoingRing out = outgoing();
        const std::uint64_t words = random_() % 64;
        for (std::uint64_t i = 0; i < words; ++i) {
            // Small numbers, so that many are nearly right.
            guest.set_word(static_cast<std::uint32_t>(8 * i), random_() & 0x0001000f000f000f);
        }
        Packet packet;
        for (unsigned step = 0; step < 20; ++step) {
            for (const std::size_t field : {0U, 4U, 8U, 12U, 64U}) {
                if (random_() % 4 == 0) {
                    guest.store(field, static_cast<std::uint32_t>(random_() % 13000 & ~7U));
                }
            }
            const RingResult<bool> read = in.read(packet);
            if (read && *read) {
                EXPECT_LE(packet.payload.size() + packet.header.size_bytes(), largest);
            }
            (void)in.commit();
            (void)in.unmask();
            (void)out.write({});
            (void)out.commit();
            (void)out.wait_for_space(64);
        }
    }
}

} // namespace
} // namespace croft::vmbus
