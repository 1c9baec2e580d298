// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/testing/model_guest.hpp"
#include "vmbus/testing/test_vm.hpp"
#include "vsp/storage/protocol.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

namespace croft::vsp::storage::testing {

/// How a command ended, as the guest is told.
struct ScsiResult {
    std::uint32_t status = 0;
    std::uint8_t srb_status = 0;
    std::uint8_t scsi_status = 0;
    std::uint32_t transferred = 0;
    std::vector<std::uint8_t> sense;

    /// Sense key, code and qualifier as one number: 0x052400.
    [[nodiscard]] std::uint32_t sense_code() const;
    [[nodiscard]] bool is_good() const { return srb_status == protocol::srb_success; }
};

using Cdb = std::vector<std::uint8_t>;

/// A command as it is put into a ring: its data is `length` bytes of guest memory from `offset` in
/// the first of `pages`.
struct GuestCommand {
    std::uint64_t transaction_id = 1;
    std::uint8_t path = 0;
    std::uint8_t target = 0;
    std::uint8_t lun = 0;
    Cdb cdb;
    std::uint8_t direction = protocol::data_unspecified;
    std::vector<std::uint64_t> pages;
    std::uint32_t offset = 0;
    std::uint32_t length = 0;

    [[nodiscard]] vmbus::testing::GuestPacket packet() const;
};

[[nodiscard]] vmbus::testing::GuestPacket packet_of(
    protocol::Operation operation, std::uint64_t first_body_word = 0);
[[nodiscard]] ScsiResult result_of(const vmbus::testing::GuestPacket& packet);
[[nodiscard]] std::uint32_t operation_of(const vmbus::testing::GuestPacket& packet);
[[nodiscard]] std::uint32_t status_of(const vmbus::testing::GuestPacket& packet);

/// A driver that speaks Linux's half (drivers/scsi/storvsc_drv.c) on a model guest's channel.
class StorageGuest {
public:
    using Channel = vmbus::testing::ModelGuest::Channel;

    StorageGuest(vmbus::testing::TestVm& vm, vmbus::testing::ModelGuest& guest)
        : vm_(vm),
          guest_(guest) {}

    /// Sends a packet and answers what comes back for it; none if nothing does.
    std::optional<vmbus::testing::GuestPacket> exchange(
        Channel& channel, vmbus::testing::GuestPacket packet);
    /// One operation of the negotiation: the status.
    std::optional<std::uint32_t> ask(
        Channel& channel, protocol::Operation operation, std::uint64_t first_body_word = 0);
    /// storvsc_channel_init: answers how many sub-channels there may be.
    std::optional<std::uint16_t> initialize(Channel& channel);

    /// Commands of LUN `lun`; their data is in guest memory meanwhile.
    std::optional<ScsiResult> run(Channel& channel, std::uint8_t lun, const Cdb& cdb);
    std::optional<ScsiResult> read(
        Channel& channel, std::uint8_t lun, const Cdb& cdb, std::span<std::uint8_t> data);
    std::optional<ScsiResult> write(
        Channel& channel, std::uint8_t lun, const Cdb& cdb, std::span<const std::uint8_t> data);

    /// Where in its first page data begins from now on.
    void place_data_at(std::uint32_t offset) { offset_ = offset; }

    /// Guest memory for `length` bytes; the command refers to it.
    void give_buffer(GuestCommand& command, std::size_t length);
    void copy_in(const GuestCommand& command, std::span<const std::uint8_t> data);
    void copy_out(const GuestCommand& command, std::span<std::uint8_t> data);

    /// Packets that came unasked.
    [[nodiscard]] unsigned rescans() const { return rescans_; }

private:
    [[nodiscard]] std::uint8_t* byte(const GuestCommand& command, std::size_t index);

    vmbus::testing::TestVm& vm_;
    vmbus::testing::ModelGuest& guest_;
    std::uint64_t next_transaction_ = 1;
    std::uint32_t offset_ = 0;
    unsigned rescans_ = 0;
    std::vector<std::uint64_t> pages_;
};

} // namespace croft::vsp::storage::testing
