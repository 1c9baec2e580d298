// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/disk.hpp"
#include "vdev/record.hpp"
#include "vmbus/protocol/guid.hpp"
#include "vmbus/vsp/channel_service.hpp"
#include "vmbus/vsp/offer.hpp"
#include "vsp/storage/channel.hpp"
#include "vsp/storage/controller_state.hpp"
#include "vsp/storage/drive.hpp"
#include "vsp/threads/countdown.hpp"
#include "vsp/threads/threads.hpp"

#include <bitset>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace croft::vsp::storage {

/// A synthetic SCSI controller: the provider to which a guest's hv_storvsc talks. It has up to 64
/// logical units, disks and DVD drives, that come and go while the guest runs.
///
/// All calls are made on the bus's thread and none blocks; commands are done on the threads of the
/// rings. Disks stay the caller's, and in use until the call that takes them away has called
/// `done`.
class Controller final : public vmbus::ChannelService, private Channel::Owner {
public:
    /// `most_sub_channels`: beside the primary channel; one less than there are virtual processors
    /// is as many as a guest asks for.
    Controller(Threads threads, std::uint16_t most_sub_channels);
    /// Detached, or stopped; and all that was asked for is done.
    ~Controller() override;

    /// To be given to vmbus::Server::add along with the controller.
    [[nodiscard]] static vmbus::Offer offer(const vmbus::Guid& instance);

    // What there is. A guest that runs notices at once. `lun` is below `lun_count`.

    /// Errors: DeviceError if the LUN is taken.
    void add_disk(std::uint8_t lun, const scsi::Identity& identity, disk::Disk& disk);
    /// A drive with a disc of 2048-byte sectors, or without one. Errors: DeviceError if the LUN is
    /// taken or the sectors are others.
    void add_dvd(std::uint8_t lun, const scsi::Identity& identity, disk::Disk* disc);
    /// Takes the unit away; commands under way are done first. `done` is called, not within the
    /// call, when its disk isn't used any more. Errors: DeviceError if there is none.
    void remove(std::uint8_t lun, std::function<void()> done);
    /// The disk has been resized (disk::Disk::resize).
    void resized(std::uint8_t lun);
    /// Puts another disc in a DVD drive, or none, whether the guest has locked it or not. `done` is
    /// called, not within the call, when the old one isn't used any more. Errors: DeviceError as
    /// for `add_dvd`, or if there is no drive.
    void change_disc(std::uint8_t lun, disk::Disk* disc, std::function<void()> done);

    /// `ejected` is told the LUN of each DVD drive whose disc the guest puts out, which stays in
    /// use until it is taken.
    void on_eject(std::function<void(std::uint8_t lun)> ejected) { ejected_ = std::move(ejected); }
    /// Takes that disc away; the tray stays open. False if the drive has no disc that was put out,
    /// or another by now; otherwise `done` is called, not within the call, when it isn't used any
    /// more.
    [[nodiscard]] bool take_ejected(std::uint8_t lun, std::function<void()> done);

    /// What the guest could see. Only while stopped.
    [[nodiscard]] vdev::Record save() const;
    /// Takes it over. Only with the units that there were, and before the channels are opened as
    /// restored. Errors: RecordError, and the controller is as before.
    void restore(const vdev::Record& record);
    /// The state after power-on. Only without open channels.
    void reset();

    // ChannelService
    void attached(vmbus::ChannelControl& control) override { control_ = &control; }
    void detached() override { control_ = nullptr; }
    void open(std::uint16_t sub_channel, vmbus::OpenChannel channel) override;
    void close(std::uint16_t sub_channel) override;
    void create_gpadl(std::uint16_t sub_channel, vmbus::Gpadl gpadl) override;
    void teardown_gpadl(std::uint16_t sub_channel, std::uint32_t id) override;
    void stop() override;
    void start() override;

private:
    // Channel::Owner, on the channels' threads
    void channel_failed(std::uint16_t index, std::string_view reason) override;
    void request_refused(std::uint16_t index, std::string_view reason) override;
    void sub_channels_wanted(std::uint16_t count) override;

    struct Closing {
        std::unique_ptr<Channel> channel;
        /// Gone when it has let go of all disks.
        std::vector<std::shared_ptr<Countdown>> waiting;
    };

    void add(std::uint8_t lun, const Drive& drive);
    [[nodiscard]] Drive& drive_at(std::uint8_t lun);
    void set_drive(std::uint8_t lun, std::function<void()> done);
    void release_disk(std::uint8_t lun, std::function<void()> done);
    void rescan();
    [[nodiscard]] std::shared_ptr<Countdown> count_down(std::function<void()> done);
    void serve(Channel& channel);
    void check(const ControllerState& state) const;

    Threads threads_;
    std::function<void(std::uint8_t lun)> ejected_ = [](std::uint8_t) {
    };
    const std::uint16_t most_sub_channels_;
    vmbus::ChannelControl* control_ = nullptr;
    bool running_ = false;
    /// Something has changed while nothing was running.
    bool rescan_wanted_ = false;
    Drives drives_;
    /// LUNs whose disk is being released.
    std::bitset<lun_count> releasing_;
    std::map<std::uint16_t, std::unique_ptr<Channel>> channels_;
    std::map<std::uint16_t, Closing> closing_;
    /// Of channels that will be opened as restored.
    std::map<std::uint16_t, ChannelState> restored_;
};

} // namespace croft::vsp::storage
