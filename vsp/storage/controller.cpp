// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/controller.hpp"

#include "vdev/error.hpp"
#include "vsp/storage/scsi/disk_unit.hpp"
#include "vsp/storage/scsi/dvd_unit.hpp"
#include "vsp/threads/posted.hpp"

#include <fmt/format.h>
#include <string>
#include <utility>

namespace croft::vsp::storage {

using vdev::DeviceError;

namespace {

void check_disc(std::uint8_t lun, const disk::Disk* disc) {
    if (disc != nullptr && disc->geometry().logical_sector_size != scsi::DvdUnit::block_bytes) {
        throw DeviceError(fmt::format("DVD drive {}: found a disc with sectors of {} bytes, "
                                      "expected {}; use an ISO image",
            lun, disc->geometry().logical_sector_size, scsi::DvdUnit::block_bytes));
    }
}

std::optional<disk::Geometry> geometry_of(const disk::Disk* disk) {
    return disk != nullptr ? std::optional(disk->geometry()) : std::nullopt;
}

} // namespace

Controller::Controller(Threads threads, std::uint16_t most_sub_channels)
    : threads_(std::move(threads)),
      most_sub_channels_(most_sub_channels) {}

Controller::~Controller() = default;

vmbus::Offer Controller::offer(const vmbus::Guid& instance) {
    vmbus::Offer offer;
    offer.interface_type = protocol::scsi_interface;
    offer.instance = instance;
    return offer;
}

// Units

void Controller::add_disk(std::uint8_t lun, const scsi::Identity& identity, disk::Disk& disk) {
    add(lun, {std::make_shared<scsi::DiskUnit>(identity, disk.geometry()), &disk});
}

void Controller::add_dvd(std::uint8_t lun, const scsi::Identity& identity, disk::Disk* disc) {
    check_disc(lun, disc);
    auto unit = std::make_shared<scsi::DvdUnit>(
        identity, [this, lun] { threads_.post_to_bus([this, lun] { ejected_(lun); }); });
    unit->medium_changed(geometry_of(disc));
    add(lun, {std::move(unit), disc});
}

void Controller::add(std::uint8_t lun, const Drive& drive) {
    if (drives_.at(lun).unit != nullptr || releasing_[lun]) {
        throw DeviceError(fmt::format(
            "LUN {} of the SCSI controller is taken; choose another or remove what is there", lun));
    }
    drives_[lun] = drive;
    if (!channels_.empty()) {
        set_drive(lun, [this] { rescan(); });
    }
}

Drive& Controller::drive_at(std::uint8_t lun) {
    Drive& drive = drives_.at(lun);
    if (drive.unit == nullptr || releasing_[lun]) {
        throw DeviceError(fmt::format("LUN {} of the SCSI controller {}", lun,
            drive.unit == nullptr ? "has no unit" : "is being changed; try again"));
    }
    return drive;
}

std::shared_ptr<Countdown> Controller::count_down(std::function<void()> done) {
    return std::make_shared<Countdown>(threads_, std::move(done));
}

/// Tells all channels. Those that are being closed need no drives any more.
void Controller::set_drive(std::uint8_t lun, std::function<void()> done) {
    const auto all = count_down(std::move(done));
    for (const auto& [index, channel] : channels_) {
        post_to(channel->ring(), [&commands = channel->commands(), lun, drive = drives_[lun], all] {
            commands.set_drive(lun, drive);
        });
    }
}

void Controller::release_disk(std::uint8_t lun, std::function<void()> done) {
    drives_[lun].disk = nullptr;
    releasing_.set(lun);
    const auto all = count_down([this, lun, done = std::move(done)] {
        releasing_.reset(lun);
        done();
    });
    for (const auto& [index, channel] : channels_) {
        post_to(
            channel->ring(), [&commands = channel->commands(), lun, unit = drives_[lun].unit, all] {
                commands.release_disk(lun, unit, [all] {});
            });
    }
    for (auto& [index, closing] : closing_) {
        closing.waiting.push_back(all);
    }
}

void Controller::remove(std::uint8_t lun, std::function<void()> done) {
    drive_at(lun).unit.reset();
    release_disk(lun, [this, done = std::move(done)] {
        rescan();
        done();
    });
}

void Controller::resized(std::uint8_t lun) {
    const Drive& drive = drive_at(lun);
    if (drive.disk != nullptr) {
        drive.unit->medium_changed(drive.disk->geometry());
        rescan();
    }
}

void Controller::change_disc(std::uint8_t lun, disk::Disk* disc, std::function<void()> done) {
    const auto unit = std::dynamic_pointer_cast<scsi::DvdUnit>(drive_at(lun).unit);
    if (unit == nullptr) {
        throw DeviceError(fmt::format("LUN {} of the SCSI controller is no DVD drive", lun));
    }
    check_disc(lun, disc);
    unit->medium_changed(std::nullopt);
    release_disk(lun, [this, lun, disc, unit, done = std::move(done)] {
        drives_[lun].disk = disc;
        // The guest sees it when all channels can read it.
        set_drive(lun, [disc, unit] { unit->medium_changed(geometry_of(disc)); });
        done();
    });
}

bool Controller::take_ejected(std::uint8_t lun, std::function<void()> done) {
    const auto unit = std::dynamic_pointer_cast<scsi::DvdUnit>(drives_.at(lun).unit);
    if (unit == nullptr || releasing_[lun] || !unit->take_ejected()) {
        return false;
    }
    release_disk(lun, std::move(done));
    return true;
}

void Controller::rescan() {
    if (!running_) {
        rescan_wanted_ = true; // channels at rest stay as they are, they may be saved
        return;
    }
    if (const auto primary = channels_.find(0); primary != channels_.end()) {
        Channel& channel = *primary->second;
        post_to(channel.ring(), [&channel] { channel.rescan(); });
    }
}

// Channels

void Controller::open(std::uint16_t sub_channel, vmbus::OpenChannel channel) {
    auto rings = vmbus::RingChannel::open(channel, control_->memory(), Channel::largest_packet);
    if (!rings) {
        control_->open_refused(sub_channel, name_of(rings.error()));
        return;
    }
    const auto saved = restored_.extract(sub_channel);
    disk::Ring& ring = *threads_.rings[sub_channel % threads_.rings.size()];
    Channel::Owner& owner = *this;
    const auto& made = channels_[sub_channel] =
        std::make_unique<Channel>(sub_channel, std::move(*rings), ring, control_->memory(), owner,
            most_sub_channels_, channel.restored && saved ? saved.mapped() : ChannelState());
    post_to(ring, [&commands = made->commands(), drives = drives_] {
        for (std::uint8_t lun = 0; lun < lun_count; ++lun) {
            commands.set_drive(lun, drives[lun]);
        }
    });
    if (running_) {
        serve(*made);
    }
    control_->opened(sub_channel);
}

void Controller::serve(Channel& channel) {
    post_to(channel.ring(), [&channel] { channel.start(); });
}

void Controller::close(std::uint16_t sub_channel) {
    const auto found = channels_.find(sub_channel);
    if (found == channels_.end()) {
        control_->closed(sub_channel); // it was refused
        return;
    }
    Channel& channel = *found->second;
    closing_[sub_channel].channel = std::move(found->second);
    channels_.erase(found);
    const auto finish = [this, sub_channel] {
        closing_.erase(sub_channel);
        control_->closed(sub_channel);
    };
    post_to(channel.ring(), [this, &channel, finish] {
        channel.quiesce([this, &channel, finish] {
            channel.commands().release_disks();
            threads_.post_to_bus(finish);
        });
    });
}

void Controller::create_gpadl(std::uint16_t sub_channel, vmbus::Gpadl gpadl) {
    // None is needed beside the rings, which come with the channel.
    control_->gpadl_created(sub_channel, gpadl.id, true);
}

void Controller::teardown_gpadl(std::uint16_t sub_channel, std::uint32_t id) {
    control_->gpadl_torn_down(sub_channel, id);
}

void Controller::stop() {
    running_ = false;
    const auto all = count_down([this] { control_->stopped(); });
    for (const auto& [index, channel] : channels_) {
        post_to(channel->ring(), [&channel = *channel, all] { channel.quiesce([all] {}); });
    }
    for (auto& [index, closing] : closing_) {
        closing.waiting.push_back(all);
    }
}

void Controller::start() {
    running_ = true;
    for (const auto& [index, channel] : channels_) {
        serve(*channel);
    }
    if (std::exchange(rescan_wanted_, false)) {
        rescan();
    }
}

void Controller::channel_failed(std::uint16_t index, std::string_view reason) {
    threads_.post_to_bus([this, index, why = std::string(reason)] {
        // The guest may be closing it by now, but not yet have it open again.
        if (channels_.contains(index) || closing_.contains(index)) {
            control_->fail(index, why);
        }
    });
}

void Controller::request_refused(std::uint16_t index, std::string_view reason) {
    threads_.post_to_bus([this, index, why = std::string(reason)] {
        if (channels_.contains(index) || closing_.contains(index)) {
            control_->request_refused(index, why);
        }
    });
}

void Controller::sub_channels_wanted(std::uint16_t count) {
    threads_.post_to_bus([this, count] {
        if (channels_.contains(0)) {
            control_->offer_sub_channels(count);
        }
    });
}

// State

vdev::Record Controller::save() const {
    ControllerState state;
    for (const auto& [index, channel] : channels_) {
        const auto [saved, is_new] = state.channels.emplace(index, channel->save());
        saved->second.rescan_wanted |= rescan_wanted_ && index == 0;
    }
    for (std::uint8_t lun = 0; lun < lun_count; ++lun) {
        if (drives_[lun].unit != nullptr) {
            state.units.emplace(lun, drives_[lun].unit->save());
        }
    }
    return state.save();
}

void Controller::check(const ControllerState& state) const {
    for (const auto& [lun, unit] : state.units) {
        if (drives_[lun].unit == nullptr) {
            throw vdev::RecordError(fmt::format("saved state of a SCSI controller: found a unit at "
                                                "LUN {}, where there is none now",
                lun));
        }
    }
    for (const auto& [index, channel] : state.channels) {
        if (index > most_sub_channels_ || channel.negotiation.sub_channels > most_sub_channels_) {
            throw vdev::RecordError(fmt::format("saved state of a SCSI controller: found more "
                                                "sub-channels than the {} there may be",
                most_sub_channels_));
        }
    }
}

void Controller::restore(const vdev::Record& record) {
    ControllerState state = ControllerState::load(record);
    check(state);
    restored_ = std::move(state.channels);
    for (const auto& [lun, unit] : state.units) {
        drives_[lun].unit->restore(unit);
    }
}

void Controller::reset() {
    restored_.clear();
    for (const Drive& drive : drives_) {
        if (drive.unit != nullptr) {
            drive.unit->restore({});
        }
    }
}

} // namespace croft::vsp::storage
