// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/storage/controller.hpp"
#include "vsp/storage/testing/memory_disk.hpp"
#include "vsp/storage/testing/storage_guest.hpp"
#include "vsp/threads/testing/provider_fixture.hpp"

#include <cstdint>
#include <gtest/gtest.h>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

namespace croft::vsp::storage::testing {

using vmbus::testing::ModelGuest;
using vmbus::testing::TestVm;
using vsp::testing::RingHost;

inline constexpr std::uint64_t mebibyte = 1U << 20U;

inline scsi::Identity identity_of(std::uint8_t first) {
    scsi::Identity identity;
    std::iota(identity.bytes.begin(), identity.bytes.end(), first);
    return identity;
}

inline std::vector<std::uint8_t> pattern(std::size_t size, unsigned seed) {
    std::vector<std::uint8_t> bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::uint8_t>(seed + i + i / 512 * 7);
    }
    return bytes;
}

inline Cdb cdb_10(
    std::uint8_t code, std::uint32_t block, std::uint16_t count, std::uint8_t flags = 0) {
    return {code, flags, static_cast<std::uint8_t>(block >> 24),
        static_cast<std::uint8_t>(block >> 16), static_cast<std::uint8_t>(block >> 8),
        static_cast<std::uint8_t>(block), 0, static_cast<std::uint8_t>(count >> 8),
        static_cast<std::uint8_t>(count), 0};
}

inline Cdb read_10(std::uint32_t block, std::uint16_t count) {
    return cdb_10(0x28, block, count);
}

inline Cdb write_10(std::uint32_t block, std::uint16_t count, std::uint8_t flags = 0) {
    return cdb_10(0x2a, block, count, flags);
}

inline const Cdb test_unit_ready = {0, 0, 0, 0, 0, 0};

/// A model guest drives a controller through VMBus, as Linux does.
class ControllerTest : public vsp::testing::ProviderFixture {
protected:
    static constexpr std::uint16_t most_sub_channels = 3;

    ControllerTest() : ProviderFixture(1024) {
        controller_->add_disk(0, identity_of(1), disk_.disk());
    }
    ~ControllerTest() override { disconnect(); }

    /// The guest boots as far as it sees the controller.
    void connect() { ProviderFixture::connect(Controller::offer(instance), *controller_); }
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

    MemoryDisk disk_{16 * mebibyte};
    MemoryDisk disc_{mebibyte, disk::Format::iso, true};
    /// It gives nothing back.
    MemoryDisk solid_{mebibyte, disk::Format::raw, false, false};
    std::unique_ptr<Controller> controller_ =
        std::make_unique<Controller>(host_.threads(), most_sub_channels);
    StorageGuest driver_{vm_, guest_};
};

} // namespace croft::vsp::storage::testing
