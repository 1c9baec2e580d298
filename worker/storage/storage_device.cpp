// SPDX-License-Identifier: Apache-2.0
#include "worker/storage/storage_device.hpp"

#include "disk/open.hpp"
#include "worker/error.hpp"
#include "worker/hash.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>
#include <optional>
#include <string>
#include <utility>

namespace croft::worker {

namespace {

using vsp::storage::Controller;
using vsp::storage::scsi::Identity;

/// More serve nobody: a thread does nothing but start I/O and take its results.
constexpr std::size_t most_threads = 4;

constexpr vmbus::Guid instance =
    vmbus::Guid::of(0x6f2b8c14, 0x93d1, 0x4e57, {0xa8, 0x30, 0x55, 0x4e, 0x44, 0x45, 0x52, 0x01});

/// The same for the same place in a VM of the same name.
Identity identity_of(const std::string& machine, unsigned lun) {
    const std::string place = fmt::format("{}/scsi0/{}", machine, lun);
    const std::array halves = {hash_of(place), hash_of(place + "/")};
    Identity identity;
    static_assert(sizeof(identity.bytes) == sizeof(halves));
    std::memcpy(identity.bytes.data(), halves.data(), sizeof(halves));
    return identity;
}

std::optional<disk::Format> format_of(const DriveSettings& drive) {
    if (drive.format == "raw") {
        return disk::Format::raw;
    }
    if (drive.format == "vhd") {
        return disk::Format::vhd;
    }
    if (drive.format == "vhdx") {
        return disk::Format::vhdx;
    }
    if (drive.format == "iso") {
        return disk::Format::iso;
    }
    return std::nullopt;
}

/// Payload goes past the page cache where the file system can do that.
std::unique_ptr<disk::Disk> open_disk(const DriveSettings& drive) {
    disk::OpenOptions options;
    options.write = !drive.read_only && drive.type == DriveSettings::Type::disk;
    options.format = format_of(drive);
    options.direct = true;
    auto chain = disk::open_chain(drive.path, options);
    if (!chain && chain.error().os_error == EINVAL) {
        options.direct = false;
        chain = disk::open_chain(drive.path, options);
    }
    if (!chain) {
        throw SystemError(
            fmt::format("{}; give another file as --disk or --dvd", chain.error().text()));
    }
    return std::make_unique<disk::Disk>(*std::move(chain));
}

} // namespace

StorageDevice::StorageDevice(const Settings& settings, VmbusDevice& bus, IoLoop& loop)
    : bus_(bus),
      threads_("disks", std::min<std::size_t>(settings.processor.count, most_threads)),
      controller_({threads_.rings(),
                      [&loop](std::function<void()> function) {
                          loop.post(std::move(function));
                      }},
          static_cast<std::uint16_t>(settings.processor.count - 1)) {
    for (std::size_t index = 0; index < settings.drives.size(); ++index) {
        add_drive(settings, index);
    }
}

StorageDevice::~StorageDevice() {
    for (const auto& disk : disks_) {
        if (const auto closed = disk->close(); !closed) {
            fmt::print(stderr, "{}\r\n", closed.error().text());
        }
    }
}

void StorageDevice::add_drive(const Settings& settings, std::size_t index) {
    const DriveSettings& drive = settings.drives[index];
    const auto lun = static_cast<std::uint8_t>(index);
    const Identity identity = identity_of(settings.name, lun);
    disk::Disk* disk = nullptr;
    if (!drive.path.empty()) {
        disks_.push_back(open_disk(drive));
        disk = disks_.back().get();
    }
    if (drive.type == DriveSettings::Type::dvd) {
        controller_.add_dvd(lun, identity, disk);
    } else {
        controller_.add_disk(lun, identity, *disk);
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
