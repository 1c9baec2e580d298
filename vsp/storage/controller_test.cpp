// SPDX-License-Identifier: Apache-2.0
//
// A model guest drives a controller through VMBus, as Linux does.
#include "vsp/storage/controller.hpp"

#include "vdev/error.hpp"
#include "vmbus/testing/model_guest.hpp"
#include "vmbus/testing/rewriter.hpp"
#include "vmbus/testing/test_vm.hpp"
#include "vsp/storage/testing/memory_disk.hpp"
#include "vsp/storage/testing/storage_guest.hpp"
#include "vsp/threads/testing/ring_host.hpp"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <numeric>
#include <string>
#include <utility>

namespace croft::vsp::storage {
namespace {

using protocol::Operation;
using testing::Cdb;
using testing::GuestCommand;
using testing::MemoryDisk;
using testing::ScsiResult;
using testing::StorageGuest;
using vmbus::testing::ModelGuest;
using vmbus::testing::Rewriter;
using vmbus::testing::TestVm;
using vsp::testing::RingHost;

constexpr std::uint64_t mebibyte = 1U << 20U;

scsi::Identity identity_of(std::uint8_t first) {
    scsi::Identity identity;
    std::iota(identity.bytes.begin(), identity.bytes.end(), first);
    return identity;
}

std::vector<std::uint8_t> pattern(std::size_t size, unsigned seed) {
    std::vector<std::uint8_t> bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::uint8_t>(seed + i + i / 512 * 7);
    }
    return bytes;
}

Cdb cdb_10(std::uint8_t code, std::uint32_t block, std::uint16_t count, std::uint8_t flags = 0) {
    return {code, flags, static_cast<std::uint8_t>(block >> 24),
        static_cast<std::uint8_t>(block >> 16), static_cast<std::uint8_t>(block >> 8),
        static_cast<std::uint8_t>(block), 0, static_cast<std::uint8_t>(count >> 8),
        static_cast<std::uint8_t>(count), 0};
}

Cdb read_10(std::uint32_t block, std::uint16_t count) {
    return cdb_10(0x28, block, count);
}

Cdb write_10(std::uint32_t block, std::uint16_t count, std::uint8_t flags = 0) {
    return cdb_10(0x2a, block, count, flags);
}

const Cdb test_unit_ready = {0, 0, 0, 0, 0, 0};

class ControllerTest : public ::testing::Test {
protected:
    static constexpr std::uint16_t most_sub_channels = 3;

    ControllerTest() { controller_->add_disk(0, identity_of(1), disk_.disk()); }
    ~ControllerTest() override {
        // What is under way ends before what it uses.
        bool is_over = false;
        vm_.server().remove(device_);
        vm_.server().reset([&] { is_over = true; });
        while (!is_over && host_.work()) {
        }
        host_.settle();
    }

    /// The guest boots as far as it sees the controller.
    void connect() {
        vm_.server().start();
        device_ = vm_.server().add(Controller::offer(instance), *controller_);
        ASSERT_TRUE(guest_.connect());
        offers_ = guest_.request_offers();
        ASSERT_EQ(offers_.size(), 1U);
    }
    /// And as far as its driver for disks.
    void boot() {
        connect();
        primary_ = guest_.open(offers_[0], 8);
        ASSERT_TRUE(primary_);
        ASSERT_EQ(driver_.initialize(*primary_), most_sub_channels);
    }

    ScsiResult run(const Cdb& cdb, std::uint8_t lun = 0) {
        return driver_.run(*primary_, lun, cdb).value();
    }
    ScsiResult read(const Cdb& cdb, std::span<std::uint8_t> data, std::uint8_t lun = 0) {
        return driver_.read(*primary_, lun, cdb, data).value();
    }
    ScsiResult write(const Cdb& cdb, std::span<const std::uint8_t> data, std::uint8_t lun = 0) {
        return driver_.write(*primary_, lun, cdb, data).value();
    }

    /// To be sent without waiting for its end.
    GuestCommand read_of_a_sector(std::uint64_t transaction_id) {
        GuestCommand command;
        command.transaction_id = transaction_id;
        command.cdb = read_10(0, 1);
        command.direction = protocol::data_in;
        driver_.give_buffer(command, 512);
        return command;
    }

    std::vector<std::uint8_t> on_disk(std::uint64_t offset, std::size_t size) {
        std::vector<std::uint8_t> bytes(size);
        disk_.contents().bytes.read(offset, std::as_writable_bytes(std::span(bytes)));
        return bytes;
    }

    static constexpr vmbus::Guid instance = vmbus::Guid::of(1, 2, 3, {4});

    TestVm vm_;
    RingHost host_;
    MemoryDisk disk_{16 * mebibyte};
    MemoryDisk disc_{mebibyte, disk::Format::iso, true};
    /// It gives nothing back.
    MemoryDisk solid_{mebibyte, disk::Format::raw, false, false};
    std::unique_ptr<Controller> controller_ =
        std::make_unique<Controller>(host_.threads(), most_sub_channels);
    vmbus::Server::DeviceId device_ = 0;
    ModelGuest guest_{vm_, [this] {
                          return host_.work();
                      }};
    StorageGuest driver_{vm_, guest_};
    std::vector<vmbus::protocol::OfferChannel> offers_;
    std::optional<ModelGuest::Channel> primary_;
};

TEST_F(ControllerTest, ADiskIsFoundWrittenAndRead) {
    boot();
    EXPECT_TRUE(run(test_unit_ready).is_good());
    std::vector<std::uint8_t> inquiry(36);
    const ScsiResult found = read({0x12, 0, 0, 0, 36, 0}, inquiry);
    EXPECT_TRUE(found.is_good());
    EXPECT_EQ(found.transferred, 36U);
    EXPECT_EQ(inquiry[0], 0x00);
    EXPECT_EQ(std::string(inquiry.begin() + 8, inquiry.begin() + 16), "Msft    ");

    const auto data = pattern(65536, 1);
    const ScsiResult written = write(write_10(8, 128), data);
    EXPECT_TRUE(written.is_good());
    EXPECT_EQ(written.transferred, data.size());
    EXPECT_EQ(on_disk(8 * 512, data.size()), data);
    EXPECT_TRUE(run(cdb_10(0x35, 0, 0)).is_good());

    std::vector<std::uint8_t> back(data.size());
    const ScsiResult got = read(read_10(8, 128), back);
    EXPECT_TRUE(got.is_good());
    EXPECT_EQ(got.transferred, data.size());
    EXPECT_EQ(back, data);
}

TEST_F(ControllerTest, NegotiatesInOrder) {
    vm_.server().start();
    device_ = vm_.server().add(Controller::offer(instance), *controller_);
    ASSERT_TRUE(guest_.connect());
    primary_ = guest_.open(guest_.request_offers().at(0), 8);
    ASSERT_TRUE(primary_);
    const auto ask = [&](Operation operation, std::uint64_t body = 0) {
        return driver_.ask(*primary_, operation, body).value();
    };
    EXPECT_EQ(ask(Operation::query_properties), protocol::status_invalid_device_state);
    EXPECT_EQ(run(test_unit_ready).status, protocol::status_invalid_device_state);
    EXPECT_EQ(ask(Operation::begin_initialization), 0U);
    EXPECT_EQ(ask(Operation::begin_initialization), protocol::status_invalid_device_state);
    EXPECT_EQ(ask(Operation::query_protocol_version, protocol::make_version(4, 2)),
        protocol::status_revision_mismatch);
    EXPECT_EQ(ask(Operation::query_protocol_version, protocol::version_win8), 0U);
    EXPECT_EQ(ask(Operation::create_sub_channels, 1), protocol::status_invalid_device_state);
    EXPECT_EQ(ask(Operation::query_properties), 0U);
    EXPECT_EQ(ask(Operation::fchba_data), protocol::status_invalid_device_state);
    EXPECT_EQ(ask(Operation::end_initialization), 0U);
    EXPECT_EQ(ask(Operation::reset_bus), 0U);
    EXPECT_TRUE(run(test_unit_ready).is_good());
}

TEST_F(ControllerTest, AnOpenedChannelNegotiatesAgain) {
    boot();
    ASSERT_TRUE(guest_.close(*primary_));
    primary_ = guest_.open(offers_[0], 8);
    ASSERT_TRUE(primary_);
    EXPECT_EQ(run(test_unit_ready).status, protocol::status_invalid_device_state);
    EXPECT_TRUE(driver_.initialize(*primary_));
    EXPECT_TRUE(run(test_unit_ready).is_good());
}

TEST_F(ControllerTest, AGuestThatLeavesOutWindows8IsAnsweredAlike) {
    boot();
    auto packet = testing::packet_of(Operation::reset_bus);
    packet.payload.resize(6);
    const auto answer = driver_.exchange(*primary_, packet);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->payload.size(), 6U);
}

TEST_F(ControllerTest, UnitsThatAreNotThere) {
    boot();
    std::vector<std::uint8_t> inquiry(36);
    EXPECT_TRUE(read({0x12, 0, 0, 0, 36, 0}, inquiry, 1).is_good());
    EXPECT_EQ(inquiry[0], 0x7f);
    const ScsiResult absent = run(test_unit_ready, 1);
    EXPECT_EQ(absent.srb_status, protocol::srb_invalid_lun);
    EXPECT_EQ(absent.status, protocol::status_device_does_not_exist);
    EXPECT_EQ(run(test_unit_ready, 255).srb_status, protocol::srb_invalid_lun);

    GuestCommand command;
    command.target = 1;
    command.cdb = test_unit_ready;
    const auto other = driver_.exchange(*primary_, command.packet());
    ASSERT_TRUE(other);
    EXPECT_EQ(testing::result_of(*other).srb_status, protocol::srb_invalid_lun);
    command.cdb = {0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0};
    command.direction = protocol::data_in;
    driver_.give_buffer(command, 64);
    const auto luns = driver_.exchange(*primary_, command.packet());
    ASSERT_TRUE(luns);
    EXPECT_EQ(testing::result_of(*luns).transferred, 8U) << "none";
}

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
        ASSERT_TRUE(answer && testing::result_of(*answer).is_good());
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
        EXPECT_TRUE(testing::result_of(*answer).is_good());
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
            if (testing::operation_of(*answer) == static_cast<unsigned>(Operation::complete_io)) {
                EXPECT_EQ(testing::result_of(*answer).sense_code(), 0x0b0000U);
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

TEST_F(ControllerTest, UnitsComeAndGo) {
    boot();
    MemoryDisk second(mebibyte);
    controller_->add_disk(63, identity_of(2), second.disk());
    EXPECT_THROW(controller_->add_disk(63, identity_of(2), second.disk()), vdev::DeviceError);
    host_.settle();
    EXPECT_TRUE(run(test_unit_ready, 63).is_good());
    EXPECT_EQ(driver_.rescans(), 1U);
    std::vector<std::uint8_t> luns(64);
    EXPECT_EQ(read({0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0}, luns).transferred, 24U);
    const auto data = pattern(512, 7);
    EXPECT_TRUE(write(write_10(0, 1), data, 63).is_good());

    bool gone = false;
    controller_->remove(63, [&] { gone = true; });
    EXPECT_FALSE(gone);
    EXPECT_THROW(controller_->remove(63, [] {}), vdev::DeviceError);
    host_.settle();
    EXPECT_TRUE(gone);
    EXPECT_EQ(run(test_unit_ready, 63).srb_status, protocol::srb_invalid_lun);
    EXPECT_EQ(driver_.rescans(), 2U);
    EXPECT_TRUE(run(test_unit_ready).is_good());
}

TEST_F(ControllerTest, AUnitGoesWhenItsCommandsAreDone) {
    boot();
    auto maintenance = disk::Disk::Maintenance::begin(disk_.disk()).value();
    auto pause = std::make_unique<disk::Disk::Maintenance::Pause>(maintenance);
    GuestCommand command = read_of_a_sector(500);
    ASSERT_TRUE(guest_.send(*primary_, command.packet()));
    host_.settle();
    bool gone = false;
    controller_->remove(0, [&] { gone = true; });
    host_.settle();
    EXPECT_FALSE(gone) << "a command is under way";
    MemoryDisk other(mebibyte);
    EXPECT_THROW(controller_->add_disk(0, identity_of(1), other.disk()), vdev::DeviceError);
    ASSERT_TRUE(guest_.send(*primary_, command.packet()));
    const auto refused = guest_.receive(*primary_);
    ASSERT_TRUE(refused);
    EXPECT_EQ(testing::result_of(*refused).srb_status, protocol::srb_invalid_lun);
    pause.reset();
    host_.settle();
    EXPECT_TRUE(gone);
    const auto done = guest_.receive(*primary_);
    ASSERT_TRUE(done);
    EXPECT_TRUE(testing::result_of(*done).is_good());
    controller_->add_disk(0, identity_of(1), disk_.disk());
    host_.settle();
    EXPECT_TRUE(run(test_unit_ready).is_good());
}

TEST_F(ControllerTest, ANewSizeIsSeen) {
    boot();
    ASSERT_TRUE(disk_.disk().resize(32 * mebibyte));
    controller_->resized(0);
    host_.settle();
    EXPECT_EQ(run(test_unit_ready).sense_code(), 0x062a09U);
    EXPECT_EQ(driver_.rescans(), 1U);
    std::vector<std::uint8_t> capacity(8);
    EXPECT_TRUE(read({0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, capacity).is_good());
    EXPECT_EQ(capacity[1], 0x00);
    EXPECT_EQ(capacity[2], 0xff);
    const auto data = pattern(512, 1);
    EXPECT_TRUE(write(write_10(65535, 1), data).is_good());
    EXPECT_EQ(write(write_10(65536, 1), data).sense_code(), 0x052100U);
}

TEST_F(ControllerTest, DiscsComeAndGo) {
    boot();
    EXPECT_THROW(controller_->add_dvd(1, identity_of(3), &disk_.disk()), vdev::DeviceError);
    controller_->add_dvd(1, identity_of(3), nullptr);
    host_.settle();
    EXPECT_EQ(run(test_unit_ready, 1).sense_code(), 0x023a00U);
    bool done = false;
    controller_->change_disc(1, &disc_.disk(), [&] { done = true; });
    host_.settle();
    EXPECT_TRUE(done);
    EXPECT_EQ(run(test_unit_ready, 1).sense_code(), 0x062800U);
    std::vector<std::uint8_t> data(4096);
    EXPECT_TRUE(read(read_10(510, 2), data, 1).is_good());
    EXPECT_EQ(data, std::vector<std::uint8_t>(4096));
    EXPECT_EQ(read(read_10(511, 2), data, 1).sense_code(), 0x052100U);
    EXPECT_THROW(controller_->change_disc(0, nullptr, [] {}), vdev::DeviceError);
    controller_->change_disc(1, nullptr, [] {});
    host_.settle();
    EXPECT_EQ(run(test_unit_ready, 1).sense_code(), 0x023a00U);
    EXPECT_EQ(read(read_10(0, 1), data, 1).sense_code(), 0x023a00U);
}

TEST_F(ControllerTest, TheGuestPutsADiscOut) {
    std::vector<std::uint8_t> ejected;
    controller_->on_eject([&](std::uint8_t lun) { ejected.push_back(lun); });
    controller_->add_dvd(5, identity_of(3), &disc_.disk());
    boot();
    EXPECT_FALSE(controller_->take_ejected(5, [] {})) << "it is in the drive";
    EXPECT_FALSE(controller_->take_ejected(0, [] {})) << "no DVD drive";
    EXPECT_EQ(run(test_unit_ready, 5).sense_code(), 0x062800U);
    EXPECT_TRUE(run({0x1b, 0, 0, 0, 0x02, 0}, 5).is_good());
    host_.settle();
    EXPECT_EQ(ejected, std::vector<std::uint8_t>{5});
    bool done = false;
    ASSERT_TRUE(controller_->take_ejected(5, [&] { done = true; }));
    host_.settle();
    EXPECT_TRUE(done);
    EXPECT_FALSE(controller_->take_ejected(5, [] {})) << "it was taken";
    EXPECT_EQ(run(test_unit_ready, 5).sense_code(), 0x023a02U) << "the tray is open";
    EXPECT_TRUE(run({0x1b, 0, 0, 0, 0x03, 0}, 5).is_good());
    EXPECT_EQ(run(test_unit_ready, 5).sense_code(), 0x023a00U) << "and empty";
    // What the host has put in meanwhile stays.
    controller_->change_disc(5, &disc_.disk(), [] {});
    host_.settle();
    EXPECT_FALSE(controller_->take_ejected(5, [] {}));
    EXPECT_EQ(run(test_unit_ready, 5).sense_code(), 0x062800U);
    EXPECT_TRUE(run(test_unit_ready, 5).is_good());
}

TEST_F(ControllerTest, SubChannels) {
    boot();
    EXPECT_EQ(driver_.ask(*primary_, Operation::create_sub_channels, most_sub_channels + 1),
        protocol::status_invalid_parameter);
    EXPECT_EQ(driver_.ask(*primary_, Operation::create_sub_channels, 2), 0U);
    EXPECT_EQ(driver_.ask(*primary_, Operation::create_sub_channels, 1),
        protocol::status_invalid_parameter);
    for (std::uint16_t index = 1; index <= 2; ++index) {
        const auto offer = guest_.wait_for_offer();
        ASSERT_TRUE(offer);
        EXPECT_EQ(offer->sub_channel_index, index);
        auto channel = guest_.open(*offer, 8, index);
        ASSERT_TRUE(channel);
        const auto data = pattern(4096, index);
        const auto written = driver_.write(*channel, 0, write_10(index * 8U, 8), data);
        ASSERT_TRUE(written);
        EXPECT_TRUE(written->is_good());
        EXPECT_EQ(on_disk(index * 4096U, 4096), data);
        EXPECT_EQ(driver_.ask(*channel, Operation::begin_initialization),
            protocol::status_invalid_device_state);
    }
    EXPECT_TRUE(run(test_unit_ready).is_good());
}

TEST_F(ControllerTest, StoppingWaitsForWhatIsUnderWay) {
    boot();
    auto maintenance = disk::Disk::Maintenance::begin(disk_.disk()).value();
    auto pause = std::make_unique<disk::Disk::Maintenance::Pause>(maintenance);
    GuestCommand command = read_of_a_sector(500);
    ASSERT_TRUE(guest_.send(*primary_, command.packet()));
    host_.settle();
    bool stopped = false;
    vm_.server().stop([&] { stopped = true; });
    host_.settle();
    EXPECT_FALSE(stopped);
    pause.reset();
    while (!stopped && host_.work()) {
    }
    ASSERT_TRUE(stopped);
    const auto done = guest_.receive(*primary_);
    ASSERT_TRUE(done);
    EXPECT_EQ(done->transaction_id, 500U);
    // What comes now waits in the ring.
    command.transaction_id = 501;
    ASSERT_TRUE(guest_.send(*primary_, command.packet()));
    host_.settle();
    EXPECT_FALSE(primary_->receiver.receive());
    vm_.server().start();
    const auto later = guest_.receive(*primary_);
    ASSERT_TRUE(later);
    EXPECT_EQ(later->transaction_id, 501U);
}

TEST_F(ControllerTest, WhatChangesWhileItIsStoppedIsToldAfterwards) {
    boot();
    bool stopped = false;
    vm_.server().stop([&] { stopped = true; });
    while (!stopped && host_.work()) {
    }
    MemoryDisk second(mebibyte);
    controller_->add_disk(1, identity_of(2), second.disk());
    host_.settle();
    EXPECT_TRUE(ControllerState::load(controller_->save()).channels.at(0).rescan_wanted);
    vm_.server().start();
    host_.settle();
    EXPECT_TRUE(run(test_unit_ready, 1).is_good());
    EXPECT_EQ(driver_.rescans(), 1U);
    bool gone = false;
    controller_->remove(1, [&] { gone = true; });
    while (!gone && host_.work()) {
    }
}

TEST_F(ControllerTest, GoesOnInAnotherController) {
    boot();
    controller_->add_dvd(1, identity_of(3), &disc_.disk());
    host_.settle();
    EXPECT_EQ(run({0x1e, 0, 0, 0, 1, 0}, 1).sense_code(), 0x062800U);
    EXPECT_TRUE(run({0x1e, 0, 0, 0, 1, 0}, 1).is_good());
    // More answers than the guest's ring has room for are kept, and a rescan behind them.
    GuestCommand command;
    command.cdb = test_unit_ready;
    unsigned sent = 0;
    for (unsigned round = 0; round < 3; ++round) {
        while (true) {
            command.transaction_id = 1000 + sent;
            if (!guest_.send(*primary_, command.packet())) {
                break;
            }
            ++sent;
        }
        host_.settle();
    }
    ASSERT_TRUE(disk_.disk().resize(32 * mebibyte));
    controller_->resized(0);
    bool stopped = false;
    vm_.server().stop([&] { stopped = true; });
    while (!stopped && host_.work()) {
    }
    const vdev::Record bus = vm_.server().save();
    const vdev::Record state = vdev::Record::decode(controller_->save().encode());
    EXPECT_EQ(ControllerState::load(state).channels.at(0).replies.size(), 1U)
        << "with one that finds no space it takes no more";

    vm_.replace_server();
    host_.settle();
    auto moved = std::make_unique<Controller>(host_.threads(), most_sub_channels);
    EXPECT_THROW(moved->restore(state), vdev::RecordError) << "the units are missing";
    moved->add_disk(0, identity_of(1), disk_.disk());
    moved->add_dvd(1, identity_of(3), &disc_.disk());
    device_ = vm_.server().add(Controller::offer(instance), *moved);
    moved->restore(state);
    vm_.server().restore(bus);
    host_.settle();
    vm_.server().start();
    // The rescan comes behind those answers that had been waiting for space.
    unsigned rescans = 0;
    for (unsigned answered = 0; answered < sent;) {
        const auto answer = guest_.receive(*primary_);
        ASSERT_TRUE(answer) << answered << " of " << sent;
        if (answer->transaction_id == 0) {
            ++rescans;
        } else {
            ASSERT_EQ(answer->transaction_id, 1000 + answered++);
        }
    }
    EXPECT_EQ(rescans, 1U);
    EXPECT_EQ(run({0x1b, 0, 0, 0, 2, 0}, 1).sense_code(), 0x055302U) << "the drive is locked";
    EXPECT_EQ(run(test_unit_ready).sense_code(), 0x000000U) << "told to one of those before";
    controller_.swap(moved);
}

/// What a guest may send, and the reason for which its channel ends.
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
    auto packet = testing::packet_of(Operation::execute_srb);
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
            ASSERT_TRUE(answer && testing::result_of(*answer).is_good());
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
    EXPECT_EQ(testing::result_of(*answer).srb_status, protocol::srb_error);
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
} // namespace croft::vsp::storage
