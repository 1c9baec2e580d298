// SPDX-License-Identifier: Apache-2.0
#include "disk/mount/loop_device.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <utility>

namespace croft::disk::mount {

namespace {

// Another process may take the free device that we were told of; then there is another one.
constexpr int attempts = 64;
// Sectors of 512 bytes. Several requests of FUSE's largest size, so that they are served at once.
constexpr unsigned long read_ahead = 4UL << 20U >> 9U;

} // namespace

// A kernel without CONFIG_BLK_DEV_WRITE_MOUNTED mounts no device that somebody has open for
// writing.
Result<LoopDevice> LoopDevice::keep_for_reading() && {
    Descriptor reading{::open(path_.c_str(), O_CLOEXEC | O_RDONLY)};
    if (!reading.valid())
        return std::unexpected(Error::system(path_, "open", errno));
    device_ = std::move(reading);
    return std::move(*this);
}

Result<LoopDevice> LoopDevice::create(
    const std::string& path, bool write, std::uint32_t sector_size) {
    const Descriptor file{::open(path.c_str(), O_CLOEXEC | (write ? O_RDWR : O_RDONLY))};
    if (!file.valid())
        return std::unexpected(Error::system(path, "open", errno));
    const Descriptor control{::open("/dev/loop-control", O_RDWR | O_CLOEXEC)};
    if (!control.valid())
        return std::unexpected(Error::system("/dev/loop-control", "open", errno));
    loop_config config{};
    config.fd = static_cast<__u32>(file.get());
    config.block_size = sector_size;
    // Past the page cache: the file system above has its own, and many requests are under way.
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    if (!write)
        config.info.lo_flags |= LO_FLAGS_READ_ONLY;
    std::memcpy(config.info.lo_file_name, path.data(),
        std::min(path.size(), sizeof config.info.lo_file_name - 1));
    for (int attempt = 0; attempt < attempts; ++attempt) {
        const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
        if (number < 0)
            return std::unexpected(Error::system("/dev/loop-control", "find a device", errno));
        LoopDevice made;
        made.path_ = fmt::format("/dev/loop{}", number);
        made.device_ =
            Descriptor{::open(made.path_.c_str(), O_CLOEXEC | (write ? O_RDWR : O_RDONLY))};
        if (!made.device_.valid())
            return std::unexpected(Error::system(made.path_, "open", errno));
        if (ioctl(made.device_.get(), LOOP_CONFIGURE, &config) == 0) {
            ioctl(made.device_.get(), BLKRASET, read_ahead);
            return std::move(made).keep_for_reading();
        }
        if (errno != EBUSY)
            return std::unexpected(Error::system(made.path_, "put it over " + path, errno));
    }
    return std::unexpected(Error::of(ErrorCode::in_use, "/dev/loop-control",
        fmt::format("found {} free devices taken by others, expected to get one", attempts)));
}

} // namespace croft::disk::mount
