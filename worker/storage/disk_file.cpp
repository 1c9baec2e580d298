// SPDX-License-Identifier: Apache-2.0
#include "worker/storage/disk_file.hpp"

#include "disk/open.hpp"
#include "worker/error.hpp"

#include <cerrno>
#include <fmt/format.h>
#include <optional>
#include <utility>

namespace croft::worker {

namespace {

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

} // namespace

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
        throw SystemError(fmt::format("{}; give another file", chain.error().text()));
    }
    return std::make_unique<disk::Disk>(*std::move(chain));
}

} // namespace croft::worker
