// SPDX-License-Identifier: Apache-2.0
//
// Guests that break the protocol, or rewrite what is being read.
#include "vsp/storage/testing/controller_fixture.hpp"

#include "vmbus/testing/rewriter.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <string>

namespace croft::vsp::storage::testing {
namespace {

using protocol::Operation;
using vmbus::testing::Rewriter;

struct Offence {
    const char* reason;
    std::function<void(vmbus::testing::GuestPacket&, GuestCommand&)> commit;
};

TEST_F(ControllerTest, AGuestThatDoesNotSpeakTheProtocolLosesItsChannel) {
    boot();
    using vmbus::testing::GuestPacket;
    const auto changed = [](auto change) {
        return [change](GuestPacket& packet, GuestCommand& command) {
            change(command);
            packet = command.packet();
        };
    };
    const std::vector<Offence> offences = {
        {"a packet wants no completion",
            [](GuestPacket& packet, auto&) {
                packet.flags = 0;
            }},
        {"a packet is too short",
            [](GuestPacket& packet, auto&) {
                packet.payload.resize(5);
            }},
        {"a packet has an unknown operation",
            [](GuestPacket& packet, auto&) {
                packet.payload[0] = 14;
            }},
        {"a packet has an unknown operation",
            [](GuestPacket& packet, auto&) {
                packet.payload[0] = 0;
            }},
        {"a command is in a packet of another type",
            [](GuestPacket& packet, auto&) {
                packet.type = 7;
            }},
        {"a packet's ranges contradict its length",
            [](GuestPacket& packet, auto&) {
                packet.header.pop_back();
            }},
        {"a command has more than one range",
            [](GuestPacket& packet, auto&) {
                packet.header[0] = std::uint64_t{2} << 32;
                packet.header.push_back(0);
            }},
        {"a command has more data than its range",
            [](GuestPacket& packet, auto&) {
                packet.header[1] -= 1;
            }},
        {"a command has more data than its range",
            [](GuestPacket& packet, auto&) {
                packet.type = 6;
                packet.header.clear();
            }},
        {"a command has more data than was agreed on",
            changed([](GuestCommand& command) { command.length = (1U << 20U) + 1; })},
        {"a command's data isn't in the guest's memory",
            changed([](GuestCommand& command) { command.pages[1] = 3; })},
        {"a command's data isn't in the guest's memory",
            changed([](GuestCommand& command) { command.pages[0] = ~std::uint64_t{0}; })},
        {"a command's data goes no way that there is",
            changed([](GuestCommand& command) { command.direction = 3; })},
        {"a command is longer than its field",
            changed([](GuestCommand& command) { command.cdb.resize(17); })},
    };
    for (const Offence& offence : offences) {
        GuestCommand command;
        command.cdb = read_10(0, 16);
        command.direction = protocol::data_in;
        driver_.give_buffer(command, 8192);
        vmbus::testing::GuestPacket packet = command.packet();
        offence.commit(packet, command);
        const std::size_t before = vm_.reports().size();
        ASSERT_TRUE(guest_.send(*primary_, packet));
        while (vm_.reports().size() == before && host_.work()) {
        }
        ASSERT_EQ(vm_.reports().size(), before + 1) << offence.reason;
        EXPECT_NE(vm_.reports().back().find(offence.reason), std::string::npos)
            << vm_.reports().back();
        // It is dead, and can be opened again.
        ASSERT_TRUE(guest_.close(*primary_)) << offence.reason;
        primary_ = guest_.open(offers_[0], 8);
        ASSERT_TRUE(primary_ && driver_.initialize(*primary_)) << offence.reason;
        EXPECT_TRUE(run(test_unit_ready).is_good());
    }
}

TEST_F(ControllerTest, RingsThatCantBeAreRefusedWithTheReason) {
    connect();
    EXPECT_EQ(guest_.open_spoilt(offers_[0],
                  [](ModelGuest::Channel& channel) { channel.sender.ring().store(0, 4); }),
        vmbus::protocol::status_unsuccessful);
    EXPECT_EQ(vm_.reports(),
        std::vector<std::string>{"refused to open channel 1: the write index is out of range"});
    primary_ = guest_.open(offers_[0], 8);
    ASSERT_TRUE(primary_ && driver_.initialize(*primary_));
    EXPECT_TRUE(run(test_unit_ready).is_good());
}

TEST_F(ControllerTest, AGuestThatClosesAtOnceDoesNotHideWhatItDid) {
    boot();
    host_.settle();
    auto packet = packet_of(Operation::execute_srb);
    packet.flags = 0;
    ASSERT_TRUE(guest_.send(*primary_, packet));
    ASSERT_TRUE(host_.work()) << "the channel has seen it, the bus not yet";
    ASSERT_TRUE(vm_.reports().empty());
    ASSERT_TRUE(guest_.close(*primary_));
    EXPECT_EQ(vm_.reports(),
        std::vector<std::string>{"channel 1 has ended: a packet wants no completion"});
}

/// UNMAP's list: what is done is what was checked, whatever the guest makes of it meanwhile.
TEST_F(ControllerTest, AnUnmapListThatChangesWhileItIsRead) {
    boot();
    disk_.contents().record = true;
    GuestCommand command;
    command.cdb = {0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0};
    command.direction = protocol::data_out;
    driver_.place_data_at(4096 - 20); // over two pages
    driver_.give_buffer(command, 40);
    constexpr std::uint8_t big = 0xff;
    const std::vector<std::uint8_t> good = {0, 38, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0,
        0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 8, 0, 0, 0, 0};
    std::vector<std::uint8_t> far = good;
    std::fill_n(far.begin() + 8, 12, big);
    std::vector<std::uint8_t> longer = good;
    longer[2] = longer[3] = big;
    driver_.copy_in(command, good);
    // Each page by itself: what is in the second is where the first ends in the host's memory only
    // by chance.
    const auto page = [&](std::size_t number) {
        return vm_.memory().page(command.pages[number]);
    };
    const auto part = [](const std::vector<std::uint8_t>& list, bool is_second) {
        return is_second ? std::vector(list.begin() + 20, list.end())
                         : std::vector(list.begin(), list.begin() + 20);
    };
    std::map<std::uint32_t, unsigned> seen;
    {
        const Rewriter first(
            page(0) + 4096 - 20, {part(good, false), part(far, false), part(longer, false)});
        const Rewriter second(page(1), {part(good, true), std::vector<std::uint8_t>(20, big)});
        // Until there was some of each, however seldom the guest's threads get a processor.
        const auto is_enough = [&] {
            return seen[0] >= 20 && seen[0x052100] >= 20 && seen[0x052600] >= 20;
        };
        for (unsigned i = 0; i < 2000 || (!is_enough() && i < 1000000); ++i) {
            const auto answer = driver_.exchange(*primary_, command.packet());
            ASSERT_TRUE(answer);
            ++seen[testing::result_of(*answer).sense_code()];
        }
    }
    EXPECT_EQ(seen.size(), 3U) << "other sense data";
    for (const auto& [code, times] : seen) {
        EXPECT_GE(times, 20U) << std::hex << code;
    }
    for (const disk::test::Event& event : disk_.contents().events) {
        EXPECT_LE(event.length, 16 * mebibyte);
        EXPECT_LE(event.offset, 16 * mebibyte - event.length);
    }
    EXPECT_TRUE(vm_.reports().empty());
}

/// WRITE SAME's block: all are alike, whatever the guest makes of it meanwhile.
TEST_F(ControllerTest, ABlockToRepeatThatChangesWhileItIsRead) {
    boot();
    GuestCommand command;
    command.cdb = cdb_10(0x41, 8, 24);
    command.direction = protocol::data_out;
    driver_.place_data_at(0);
    driver_.give_buffer(command, 512);
    constexpr std::size_t block = 512;
    {
        const Rewriter guest(vm_.memory().page(command.pages[0]),
            {std::vector<std::uint8_t>(block), pattern(block, 3), pattern(block, 4)});
        std::vector<std::uint8_t> before;
        unsigned changes = 0;
        for (unsigned i = 0; i < 500 || (changes < 20 && i < 1000000); ++i) {
            const auto answer = driver_.exchange(*primary_, command.packet());
            ASSERT_TRUE(answer && result_of(*answer).is_good());
            const auto written = on_disk(8 * block, 24 * block);
            for (std::size_t at = block; at < written.size(); at += block) {
                ASSERT_TRUE(std::equal(written.begin(), written.begin() + block,
                    written.begin() + static_cast<std::ptrdiff_t>(at)))
                    << "block " << at / block;
            }
            changes += written != before ? 1U : 0U;
            before = written;
        }
        EXPECT_GE(changes, 20U);
    }
    EXPECT_TRUE(vm_.reports().empty());
}

TEST_F(ControllerTest, DataThatGoesTheWrongWayIsRefused) {
    boot();
    const auto data = pattern(8192, 5);
    EXPECT_EQ(write(read_10(0, 16), data).sense_code(), 0x052400U);
    std::vector<std::uint8_t> back(8192);
    EXPECT_EQ(read(write_10(0, 16), back).sense_code(), 0x052400U);
    EXPECT_EQ(write({0x12, 0, 0, 0, 36, 0}, std::span(data).first(36)).sense_code(), 0x052400U);
    host_.settle();
    EXPECT_EQ(vm_.reports(),
        std::vector<std::string>(
            3, "refused a request on channel 1: a command's data goes the wrong way"));
    EXPECT_TRUE(read(read_10(0, 16), back).is_good()) << "the channel goes on";
    EXPECT_EQ(back, std::vector<std::uint8_t>(8192));
}

TEST_F(ControllerTest, CommandsThatMakeNoSenseAreRefused) {
    boot();
    EXPECT_EQ(run({0x28, 0, 0, 0, 0, 0}).sense_code(), 0x052400U) << "too short for a READ (10)";
    EXPECT_EQ(run({}).sense_code(), 0x052400U);
    EXPECT_EQ(run(read_10(0, 1)).sense_code(), 0x052400U) << "without a place for the data";
    EXPECT_EQ(run({0x5e, 0, 0, 0, 0, 0, 0, 0, 0, 0}).sense_code(), 0x052000U);
    GuestCommand command;
    command.cdb = {0x5e, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    auto packet = command.packet();
    // No room for sense data.
    packet.payload[2] &= ~(std::uint64_t{0xff} << 40);
    const auto answer = driver_.exchange(*primary_, packet);
    ASSERT_TRUE(answer);
    EXPECT_EQ(result_of(*answer).srb_status, protocol::srb_error);
    host_.settle();
    const std::string refused = "refused a request on channel 1: ";
    EXPECT_EQ(vm_.reports(),
        (std::vector<std::string>{refused + "a command is shorter than its operation says",
            refused + "a command is shorter than its operation says",
            refused + "a command has less data than blocks"}))
        << "what isn't known is no offence";
    // As often as the guest likes, but not as many lines.
    for (unsigned i = 0; i < 2 * vmbus::most_refusals_told; ++i) {
        EXPECT_EQ(run({}).sense_code(), 0x052400U);
    }
    host_.settle();
    EXPECT_EQ(vm_.reports().size(), vmbus::most_refusals_told);
}

} // namespace
} // namespace croft::vsp::storage::testing
