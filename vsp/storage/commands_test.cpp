// SPDX-License-Identifier: Apache-2.0
//
// Commands that move data, and what comes of them.
#include "vsp/storage/testing/controller_fixture.hpp"

#include <algorithm>
#include <cerrno>

namespace croft::vsp::storage::testing {
namespace {

using protocol::Operation;

TEST_F(ControllerTest, DataMayBeginAnywhere) {
    boot();
    driver_.place_data_at(4096 - 100);
    const auto data = pattern(20 * 512, 3);
    EXPECT_TRUE(write(write_10(100, 20), data).is_good());
    EXPECT_EQ(on_disk(100 * 512, data.size()), data);
    driver_.place_data_at(33);
    std::vector<std::uint8_t> back(data.size());
    EXPECT_TRUE(read(read_10(100, 20), back).is_good());
    EXPECT_EQ(back, data);
}

/// No copy between the guest's memory and the file: what the file is read into and written from are
/// the command's own bytes.
TEST_F(ControllerTest, DataMovesBetweenTheFileAndWhereTheGuestHasIt) {
    boot();
    disk_.contents().record_memory = true;
    constexpr std::uint32_t offset = 100;
    driver_.place_data_at(offset);
    for (const bool is_write : {true, false}) {
        GuestCommand command;
        command.cdb = is_write ? write_10(8, 32) : read_10(8, 32);
        command.direction = is_write ? protocol::data_out : protocol::data_in;
        driver_.give_buffer(command, std::size_t{32} * 512);
        const auto answer = driver_.exchange(*primary_, command.packet());
        ASSERT_TRUE(answer && result_of(*answer).is_good());
        std::vector<const std::uint8_t*> expected;
        for (std::size_t i = 0; i < command.length; ++i) {
            const std::size_t at = offset + i;
            expected.push_back(vm_.memory().page(command.pages.at(at / 4096)) + at % 4096);
        }
        std::vector<const std::uint8_t*> moved;
        for (const iovec& segment : std::exchange(disk_.contents().memory, {})) {
            for (std::size_t i = 0; i < segment.iov_len; ++i) {
                moved.push_back(static_cast<const std::uint8_t*>(segment.iov_base) + i);
            }
        }
        EXPECT_TRUE(moved == expected) << (is_write ? "write" : "read");
    }
}

TEST_F(ControllerTest, ALargerBufferKeepsTheRest) {
    boot();
    std::vector<std::uint8_t> back(4096);
    const ScsiResult result = read(read_10(0, 1), back);
    EXPECT_TRUE(result.is_good());
    EXPECT_EQ(result.transferred, 512U);
    EXPECT_EQ(back[511], 0x00);
    EXPECT_EQ(back[512], 0xee) << "as it was";
    const ScsiResult larger = read(read_10(0, 9), back);
    EXPECT_EQ(larger.sense_code(), 0x052400U) << "nine blocks don't fit";
    EXPECT_EQ(larger.transferred, 0U);
}

TEST_F(ControllerTest, TheLargestTransfer) {
    boot();
    const auto data = pattern(mebibyte, 5);
    driver_.place_data_at(512);
    EXPECT_TRUE(write(write_10(2048, 2048), data).is_good());
    EXPECT_EQ(on_disk(mebibyte, mebibyte), data);
}

TEST_F(ControllerTest, ForceUnitAccessFlushes) {
    boot();
    disk_.contents().record = true;
    const auto data = pattern(512, 1);
    EXPECT_TRUE(write(write_10(0, 1), data).is_good());
    EXPECT_EQ(disk_.contents().events.size(), 1U);
    EXPECT_TRUE(write(write_10(0, 1, 0x08), data).is_good());
    ASSERT_EQ(disk_.contents().events.size(), 3U);
    EXPECT_EQ(disk_.contents().events.back().kind, disk::test::Event::Kind::flush);
}

TEST_F(ControllerTest, UnmapAndWriteSameLeaveZeros) {
    boot();
    const auto data = pattern(mebibyte, 9);
    ASSERT_TRUE(write(write_10(0, 2048), data).is_good());
    std::vector<std::uint8_t> list(8 + 2 * 16);
    list[3] = 32;
    list[8 + 6] = 1; // 16 blocks from 256
    list[8 + 11] = 16;
    list[24 + 7] = 8; // 8 blocks from 8
    list[24 + 11] = 8;
    EXPECT_TRUE(write(cdb_10(0x42, 0, 40), list).is_good());
    EXPECT_EQ(on_disk(256 * 512, 16 * 512), std::vector<std::uint8_t>(16 * 512));
    EXPECT_EQ(on_disk(8 * 512, 8 * 512), std::vector<std::uint8_t>(8 * 512));
    EXPECT_EQ(on_disk(16 * 512, 512), std::vector<std::uint8_t>(&data[8192], &data[8704]));
    const std::vector<std::uint8_t> zeros(512);
    EXPECT_TRUE(write(cdb_10(0x41, 100, 3, 0x08), zeros).is_good());
    EXPECT_EQ(on_disk(100 * 512, 3 * 512), std::vector<std::uint8_t>(3 * 512));
    EXPECT_EQ(write(cdb_10(0x42, 0, 7), std::span(list).first(7)).sense_code(), 0x051a00U);
}

TEST_F(ControllerTest, NothingIsWrittenForADiskThatGivesNothingBack) {
    controller_->add_disk(1, identity_of(2), solid_.disk());
    boot();
    std::vector<std::uint8_t> page(8);
    ASSERT_TRUE(read({0x12, 1, 0xb2, 0, 8, 0}, page, 1).is_good());
    EXPECT_EQ(page[5], 0) << "neither UNMAP nor WRITE SAME with it";
    std::vector<std::uint8_t> capacity(32);
    ASSERT_TRUE(
        read({0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}, capacity, 1).is_good());
    EXPECT_EQ(capacity[14], 0);
    std::vector<std::uint8_t> list(24);
    list[3] = 16;
    list[8 + 11] = 16;
    EXPECT_EQ(write(cdb_10(0x42, 0, 24), list, 1).sense_code(), 0x052000U);
    // Who discards all the same has nothing written.
    solid_.contents().record = true;
    ASSERT_TRUE(solid_.disk().chain().discard(0, mebibyte));
    EXPECT_TRUE(solid_.contents().events.empty());
    // Zeros that are asked for are written.
    const auto data = pattern(512, 1);
    ASSERT_TRUE(write(write_10(7, 1), data, 1).is_good());
    const std::vector<std::uint8_t> zeros(512);
    ASSERT_TRUE(write(cdb_10(0x41, 7, 1), zeros, 1).is_good());
    std::vector<std::uint8_t> back(512, 1);
    ASSERT_TRUE(read(read_10(7, 1), back, 1).is_good());
    EXPECT_EQ(back, zeros);
}

TEST_F(ControllerTest, WriteSameRepeatsABlock) {
    boot();
    const auto block = pattern(512, 21);
    // More than is written at a time.
    constexpr std::uint16_t count = 3000;
    const ScsiResult result = write(cdb_10(0x41, 50, count), block);
    EXPECT_TRUE(result.is_good());
    EXPECT_EQ(result.transferred, 512U);
    EXPECT_EQ(on_disk(49 * 512, 512), std::vector<std::uint8_t>(512));
    for (std::uint64_t at = 50; at < 50 + count; ++at) {
        ASSERT_EQ(on_disk(at * 512, 512), block) << at;
    }
    EXPECT_EQ(on_disk((50 + count) * 512, 512), std::vector<std::uint8_t>(512));
    EXPECT_TRUE(write(cdb_10(0x2f, 50, 2048, 0x06), block).is_good());
    EXPECT_EQ(write(cdb_10(0x2f, 49, 2048, 0x06), block).sense_code(), 0x0e1d00U);
    EXPECT_EQ(write(cdb_10(0x2f, 51 + count - 2048, 2048, 0x06), block).sense_code(), 0x0e1d00U)
        << "the last one differs";
}

TEST_F(ControllerTest, VerifyReadsAndCompares) {
    boot();
    driver_.place_data_at(4096 - 100);
    auto data = pattern(mebibyte - 4096, 4);
    const auto count = static_cast<std::uint16_t>(data.size() / 512);
    ASSERT_TRUE(write(write_10(100, count), data).is_good());
    EXPECT_TRUE(write(cdb_10(0x2f, 100, count, 0x02), data).is_good());
    data.back() ^= 1;
    EXPECT_EQ(write(cdb_10(0x2f, 100, count, 0x02), data).sense_code(), 0x0e1d00U);
    EXPECT_TRUE(write(cdb_10(0x2f, 100, count - 1, 0x02), data).is_good());
    EXPECT_EQ(
        write(cdb_10(0x2f, 100, count, 0x02), std::span(data).first(512)).sense_code(), 0x052400U)
        << "too little to compare with";
    EXPECT_TRUE(run(cdb_10(0x2f, 8192, 2048)).is_good());
    EXPECT_EQ(run(cdb_10(0x2f, 8192, 2049)).sense_code(), 0x052400U) << "more than a transfer has";
    disk_.contents().fault = [](const disk::test::Event& event, std::size_t& length) {
        const bool is_bad = event.offset <= 9000 * 512 && event.offset + length > 9000 * 512;
        length = is_bad ? 0 : length;
        return is_bad ? EIO : 0;
    };
    EXPECT_EQ(run(cdb_10(0x2f, 8192, 2048)).sense_code(), 0x031100U);
    EXPECT_TRUE(run(cdb_10(0x2f, 9001, 1000)).is_good());
}

TEST_F(ControllerTest, ManyLongCommandsAreAllDone) {
    boot();
    const auto block = pattern(512, 3);
    GuestCommand command;
    command.direction = protocol::data_out;
    driver_.give_buffer(command, 512);
    driver_.copy_in(command, block);
    for (std::uint8_t i = 0; i < 32; ++i) {
        command.transaction_id = 100U + i;
        command.cdb = cdb_10(0x41, i * 1000U, 1000);
        ASSERT_TRUE(guest_.send(*primary_, command.packet()));
    }
    for (unsigned i = 0; i < 32; ++i) {
        const auto answer = guest_.receive(*primary_);
        ASSERT_TRUE(answer);
        EXPECT_TRUE(result_of(*answer).is_good());
    }
    for (std::uint64_t at = 0; at < 32000; ++at) {
        ASSERT_EQ(on_disk(at * 512, 512), block) << at;
    }
}

/// A guest that has far more to do than can be waited for.
class LongCommandsTest : public ControllerTest {
protected:
    static constexpr unsigned count = 40;

    void send_them() {
        boot();
        maintenance_.emplace(disk::Disk::Maintenance::begin(disk_.disk()).value());
        pause_.emplace(*maintenance_);
        GuestCommand command;
        command.cdb = cdb_10(0x2f, 0, 2048);
        for (unsigned i = 0; i < count; ++i) {
            command.transaction_id = 100 + i;
            ASSERT_TRUE(guest_.send(*primary_, command.packet()));
        }
        host_.settle();
    }
    void let_them_go_on() { pause_.reset(); }

    /// Takes the answers that there are; all say that the command was aborted.
    unsigned count_aborted() {
        unsigned aborted = 0;
        while (const auto answer = primary_->receiver.receive()) {
            if (operation_of(*answer) == static_cast<unsigned>(Operation::complete_io)) {
                EXPECT_EQ(result_of(*answer).sense_code(), 0x0b0000U);
                ++aborted;
            }
        }
        if (primary_->receiver.commit()) {
            vm_.signal(primary_->connection);
        }
        return aborted;
    }

private:
    std::optional<disk::Disk::Maintenance> maintenance_;
    std::optional<disk::Disk::Maintenance::Pause> pause_;
};

TEST_F(LongCommandsTest, DoNotHoldUpAStop) {
    send_them();
    bool stopped = false;
    vm_.server().stop([&] { stopped = true; });
    host_.settle();
    // A few have been begun: one step of theirs is waited for.
    const unsigned waiting = count_aborted();
    EXPECT_GE(waiting, count - 4);
    EXPECT_FALSE(stopped);
    let_them_go_on();
    while (!stopped && host_.work()) {
    }
    ASSERT_TRUE(stopped);
    EXPECT_EQ(waiting + count_aborted(), count);
    vm_.server().start();
    host_.settle();
    EXPECT_TRUE(run(cdb_10(0x2f, 0, 2048)).is_good()) << "the guest tries again";
}

TEST_F(LongCommandsTest, DoNotHoldUpARemoval) {
    send_them();
    bool gone = false;
    controller_->remove(0, [&] { gone = true; });
    host_.settle();
    const unsigned waiting = count_aborted();
    EXPECT_GE(waiting, count - 4);
    EXPECT_FALSE(gone);
    let_them_go_on();
    while (!gone && host_.work()) {
    }
    ASSERT_TRUE(gone);
    host_.settle();
    EXPECT_EQ(waiting + count_aborted(), count);
}

TEST_F(ControllerTest, ErrorsOfTheHostAreSenseData) {
    boot();
    const auto data = pattern(512, 1);
    std::vector<std::uint8_t> back(512);
    const auto fail_with = [&](int error) {
        disk_.contents().fault = [error](const disk::test::Event&, std::size_t& length) {
            length = 0;
            return error;
        };
    };
    fail_with(EIO);
    const ScsiResult failed = read(read_10(0, 1), back);
    EXPECT_EQ(failed.srb_status, protocol::srb_error | protocol::srb_autosense_valid);
    EXPECT_EQ(failed.scsi_status, 2);
    EXPECT_EQ(failed.sense_code(), 0x031100U);
    EXPECT_EQ(failed.transferred, 0U);
    EXPECT_EQ(write(write_10(0, 1), data).sense_code(), 0x030c00U);
    fail_with(ENOSPC);
    EXPECT_EQ(write(write_10(0, 1), data).sense_code(), 0x072707U);
    fail_with(ENODEV);
    EXPECT_EQ(write(write_10(0, 1), data).sense_code(), 0x023a00U);
    disk_.contents().fault = nullptr;
    EXPECT_TRUE(write(write_10(0, 1), data).is_good());
    fail_with(EIO);
    EXPECT_EQ(run(cdb_10(0x35, 0, 0)).sense_code(), 0x030c00U);
}

TEST_F(ControllerTest, AMediumErrorNamesItsBlock) {
    boot();
    constexpr std::uint64_t bad = 109;
    disk_.contents().fault = [](const disk::test::Event& call, std::size_t& length) {
        if (call.offset + call.length <= bad * 512 || call.offset > bad * 512) {
            return 0;
        }
        length = bad * 512 - call.offset; // up to there it succeeds
        return EIO;
    };
    const auto expect_named = [](const ScsiResult& result, std::uint32_t code) {
        EXPECT_EQ(result.sense_code(), code);
        ASSERT_EQ(result.sense.size(), 18U);
        EXPECT_EQ(result.sense[0], 0xf0) << "VALID";
        EXPECT_EQ(
            result.sense[3] << 24 | result.sense[4] << 16 | result.sense[5] << 8 | result.sense[6],
            static_cast<int>(bad));
    };
    std::vector<std::uint8_t> back(std::size_t{32} * 512);
    driver_.place_data_at(300);
    expect_named(read(read_10(100, 32), back), 0x031100);
    expect_named(write(write_10(100, 32), back), 0x030c00);
    // In a later step of a command that has several.
    expect_named(run(cdb_10(0x2f, 0, 300)), 0x031100);
    EXPECT_TRUE(read(read_10(bad + 1, 8), std::span(back).first(8 * 512)).is_good());
    disk_.contents().fault = [](const disk::test::Event&, std::size_t& length) {
        length = 0;
        return EIO;
    };
    const ScsiResult flushed = run(cdb_10(0x35, 0, 0));
    EXPECT_EQ(flushed.sense_code(), 0x030c00U);
    EXPECT_EQ(flushed.sense.at(0), 0x70) << "of no block in particular";
}

TEST_F(ControllerTest, ManyCommandsAtOnceWhileNobodyReads) {
    boot();
    unsigned sent = 0;
    unsigned answered = 0;
    GuestCommand command;
    command.cdb = test_unit_ready;
    // Twice what a ring has room for: the rest is kept, and then left in the guest's ring.
    for (unsigned round = 0; round < 4; ++round) {
        for (;;) {
            command.transaction_id = 1000 + sent;
            if (!guest_.send(*primary_, command.packet())) {
                break;
            }
            ++sent;
        }
        host_.settle();
    }
    EXPECT_GT(sent, 500U);
    while (answered < sent) {
        const auto answer = guest_.receive(*primary_);
        ASSERT_TRUE(answer) << answered << " of " << sent;
        EXPECT_EQ(answer->transaction_id, 1000 + answered);
        ++answered;
    }
    EXPECT_TRUE(run(test_unit_ready).is_good());
}

} // namespace
} // namespace croft::vsp::storage::testing
