// SPDX-License-Identifier: Apache-2.0
#include "worker/storage/storage_device.hpp"

#include "worker/error.hpp"
#include "worker/hash.hpp"
#include "worker/storage/disk_file.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>
#include <future>
#include <optional>
#include <utility>

namespace croft::worker {

namespace {

using vsp::storage::Controller;
using vsp::storage::scsi::Identity;

static_assert(DriveSettings::most == vsp::storage::lun_count);

/// More serve nobody: a thread does nothing but start I/O and take its results.
constexpr std::size_t most_threads = 4;

constexpr vmbus::Guid instance =
    vmbus::Guid::of(0x6f2b8c14, 0x93d1, 0x4e57, {0xa8, 0x30, 0x55, 0x4e, 0x44, 0x45, 0x52, 0x01});

/// The same for the same text.
Identity hashed(const std::string& text) {
    const std::array halves = {hash_of(text), hash_of(text + "/")};
    Identity identity;
    static_assert(sizeof(identity.bytes) == sizeof(halves));
    std::memcpy(identity.bytes.data(), halves.data(), sizeof(halves));
    return identity;
}

/// The bytes as a GUID's text has them, so that the serial number can be recognized.
std::optional<Identity> from_guid(std::string text) {
    std::erase(text, '-');
    Identity identity;
    if (text.size() != 2 * identity.bytes.size()) {
        return std::nullopt;
    }
    for (std::size_t i = 0; i < identity.bytes.size(); ++i) {
        const char* const digits = &text[2 * i];
        if (std::from_chars(digits, digits + 2, identity.bytes.at(i), 16).ptr != digits + 2) {
            return std::nullopt;
        }
    }
    return identity;
}

/// The guest hears of each error that the host's storage makes, and may keep it to itself. So the
/// log has the first of each kind.
std::unique_ptr<disk::Disk> open_for(std::uint32_t lun, const DriveSettings& drive) {
    auto disk = open_disk(drive);
    disk->on_error([lun](const disk::Error& error) {
        fmt::print(stderr, "drive at LUN {}: {}\r\n", lun, error.text());
    });
    return disk;
}

void close(disk::Disk& disk) {
    if (const auto closed = disk.close(); !closed) {
        throw SystemError(closed.error().text());
    }
}

/// Those that say where they belong have their places before the others look for one.
std::vector<DriveSettings> in_order(std::vector<DriveSettings> drives) {
    std::ranges::stable_partition(
        drives, [](const DriveSettings& drive) { return drive.lun.has_value(); });
    return drives;
}

} // namespace

StorageDevice::StorageDevice(
    const Settings& settings, VmbusDevice& bus, IoLoop& devices, IoLoop& control)
    : bus_(bus),
      machine_(settings.name),
      threads_("disks", std::min<std::size_t>(settings.processor.count, most_threads)),
      controller_({threads_.rings(),
                      [&devices](std::function<void()> function) {
                          devices.post(std::move(function));
                      }},
          static_cast<std::uint16_t>(settings.processor.count - 1)) {
    controller_.on_eject(
        [this, &control](std::uint8_t lun) { control.post([this, lun] { take_ejected(lun); }); });
    for (DriveSettings& drive : in_order(settings.drives)) {
        add_drive(std::move(drive));
    }
}

StorageDevice::~StorageDevice() {
    for (const auto& [lun, drive] : drives_) {
        if (const auto closed = drive.disk ? drive.disk->close() : disk::Result<void>{}; !closed) {
            fmt::print(stderr, "{}\r\n", closed.error().text());
        }
    }
}

/// A disk's follows the disk, a DVD drive's the drive: the VM and its place there.
Identity StorageDevice::identity_of(const Attached& drive, std::uint32_t lun) const {
    if (drive.settings.type == DriveSettings::Type::dvd) {
        return hashed(fmt::format("{}/scsi0/{}", machine_, lun));
    }
    if (!drive.settings.serial.empty()) {
        Identity identity = hashed(drive.settings.serial);
        identity.serial = drive.settings.serial;
        return identity;
    }
    const std::string told = drive.disk->identity();
    return from_guid(told).value_or(hashed(told.empty() ? drive.settings.path : told));
}

std::uint32_t StorageDevice::free_lun() const {
    std::uint32_t lun = 0;
    for (const auto& [taken, drive] : drives_) {
        if (taken != lun) {
            break;
        }
        ++lun;
    }
    return lun;
}

StorageDevice::Attached& StorageDevice::attached(std::uint32_t lun) {
    const auto found = drives_.find(lun);
    if (found == drives_.end()) {
        throw SettingsError(fmt::format(
            "drive: found none at LUN {}, expected one; choose one that there is", lun));
    }
    return found->second;
}

std::vector<StorageDevice::Drive> StorageDevice::drives() const {
    std::vector<Drive> result;
    result.reserve(drives_.size());
    for (const auto& [lun, drive] : drives_) {
        result.push_back({drive.settings, drive.disk != nullptr ? drive.disk->geometry().size : 0});
    }
    return result;
}

std::uint32_t StorageDevice::add_drive(DriveSettings drive) {
    const std::uint32_t lun = drive.lun.value_or(free_lun());
    if (lun >= DriveSettings::most || drives_.contains(lun)) {
        throw SettingsError(fmt::format("drive: found {}, expected a free LUN below {}; remove a "
                                        "drive first, or choose another LUN",
            drive.lun ? fmt::format("another one at LUN {}", lun) : "none that is free",
            DriveSettings::most));
    }
    drive.lun = lun;
    Attached attached{std::move(drive), nullptr};
    if (!attached.settings.path.empty()) {
        attached.disk = open_for(lun, attached.settings);
    }
    const auto address = static_cast<std::uint8_t>(lun);
    const Identity identity = identity_of(attached, lun);
    bus_.call([&] {
        if (attached.settings.type == DriveSettings::Type::dvd) {
            controller_.add_dvd(address, identity, attached.disk.get());
        } else {
            controller_.add_disk(address, identity, *attached.disk);
        }
    });
    drives_.emplace(lun, std::move(attached));
    return lun;
}

/// Has the bus's thread begin something, and waits for its end.
void StorageDevice::release(const std::function<void(std::function<void()> done)>& begin) {
    std::promise<void> released;
    bus_.call([&] { begin([&released] { released.set_value(); }); });
    released.get_future().wait();
}

void StorageDevice::remove_drive(std::uint32_t lun) {
    Attached& drive = attached(lun);
    release([&](std::function<void()> done) {
        controller_.remove(static_cast<std::uint8_t>(lun), std::move(done));
    });
    const std::unique_ptr<disk::Disk> disk = std::move(drive.disk);
    drives_.erase(lun);
    if (disk != nullptr) {
        close(*disk);
    }
}

void StorageDevice::resize_drive(std::uint32_t lun, std::optional<std::uint64_t> size) {
    const Attached& drive = attached(lun);
    if (drive.settings.type != DriveSettings::Type::disk || drive.settings.read_only) {
        throw SettingsError(fmt::format("drive at LUN {}: found a {}, expected a disk that can be "
                                        "written to; choose another",
            lun, drive.settings.read_only ? "read-only disk" : "DVD drive"));
    }
    const std::uint64_t now = drive.disk->geometry().size;
    // The guest may be using what is beyond a nearer end.
    if (size && *size <= now) {
        throw SettingsError(fmt::format("size of the disk at LUN {}: found {} bytes, expected more "
                                        "than the {} it has; remove it to make it smaller by "
                                        "croft disk resize",
            lun, *size, now));
    }
    const auto resized = size ? drive.disk->resize(*size) : drive.disk->take_all();
    if (!resized) {
        throw SystemError(resized.error().text());
    }
    if (drive.disk->geometry().size == now) {
        throw SettingsError(fmt::format("disk at LUN {}: found {} bytes in {}, expected more than "
                                        "before; make that larger first",
            lun, now, drive.settings.path));
    }
    bus_.call([&] { controller_.resized(static_cast<std::uint8_t>(lun)); });
}

void StorageDevice::change_disc(std::uint32_t lun, const std::string& path) {
    Attached& drive = attached(lun);
    if (drive.settings.type != DriveSettings::Type::dvd) {
        throw SettingsError(
            fmt::format("drive at LUN {}: found a disk, expected a DVD drive; choose another, or "
                        "remove it and add another disk",
                lun));
    }
    DriveSettings settings = drive.settings;
    settings.path = path;
    std::unique_ptr<disk::Disk> disc = path.empty() ? nullptr : open_for(lun, settings);
    release([&](std::function<void()> done) {
        controller_.change_disc(static_cast<std::uint8_t>(lun), disc.get(), std::move(done));
    });
    std::swap(drive.disk, disc);
    drive.settings = std::move(settings);
    if (disc != nullptr) {
        close(*disc);
    }
}

/// The guest has put a disc out: its file is nobody's any more.
void StorageDevice::take_ejected(std::uint32_t lun) {
    const auto found = drives_.find(lun);
    if (found == drives_.end()) {
        return;
    }
    std::promise<void> released;
    bool is_taken = false;
    bus_.call([&] {
        is_taken = controller_.take_ejected(
            static_cast<std::uint8_t>(lun), [&released] { released.set_value(); });
    });
    if (!is_taken) {
        return; // the guest has loaded it again, or the host another
    }
    released.get_future().wait();
    found->second.settings.path.clear();
    const std::unique_ptr<disk::Disk> disc = std::move(found->second.disk);
    if (const auto closed = disc->close(); !closed) {
        fmt::print(stderr, "{}\r\n", closed.error().text());
    }
}

void StorageDevice::configure(vdev::Platform&) {
    id_ = bus_.add(Controller::offer(instance), controller_);
}

vdev::Record StorageDevice::save() const {
    std::optional<vdev::Record> record;
    bus_.call([&] { record = controller_.save(); });
    return *std::move(record);
}

void StorageDevice::restore(const vdev::Record& record) {
    bus_.call([&] { controller_.restore(record); });
}

void StorageDevice::reset() {
    bus_.call([this] { controller_.reset(); });
}

/// The guest is gone, so the service is detached at once.
void StorageDevice::remove() {
    bus_.remove(id_);
}

} // namespace croft::worker
