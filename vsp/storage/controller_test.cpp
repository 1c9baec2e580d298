// SPDX-License-Identifier: Apache-2.0
//
// What a guest sees of a controller and its units, as they come, go and are moved.
#include "vsp/storage/testing/controller_fixture.hpp"

#include "vdev/error.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace croft::vsp::storage::testing {
namespace {

using protocol::Operation;

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
    auto packet = packet_of(Operation::reset_bus);
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
    EXPECT_EQ(result_of(*other).srb_status, protocol::srb_invalid_lun);
    command.cdb = {0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0};
    command.direction = protocol::data_in;
    driver_.give_buffer(command, 64);
    const auto luns = driver_.exchange(*primary_, command.packet());
    ASSERT_TRUE(luns);
    EXPECT_EQ(result_of(*luns).transferred, 8U) << "none";
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
    EXPECT_EQ(result_of(*refused).srb_status, protocol::srb_invalid_lun);
    pause.reset();
    host_.settle();
    EXPECT_TRUE(gone);
    const auto done = guest_.receive(*primary_);
    ASSERT_TRUE(done);
    EXPECT_TRUE(result_of(*done).is_good());
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

} // namespace
} // namespace croft::vsp::storage::testing
