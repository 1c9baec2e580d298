// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/file_queue.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

namespace croft::vsp::network {

FileQueue::FileQueue(vmbus::Descriptor descriptor, std::function<bool(bool attached)> attach)
    : descriptor_(std::move(descriptor)),
      attach_(std::move(attach)) {}

int FileQueue::receive(std::span<const iovec> segments) {
    const ssize_t size =
        ::readv(descriptor_.get(), segments.data(), static_cast<int>(segments.size()));
    return size < 0 ? -errno : static_cast<int>(size);
}

int FileQueue::send(std::span<const iovec> segments) {
    const ssize_t size =
        ::writev(descriptor_.get(), segments.data(), static_cast<int>(segments.size()));
    return size < 0 ? -errno : static_cast<int>(size);
}

void FileQueue::enable(bool enabled) {
    if (std::exchange(enabled_, enabled) == enabled) {
        return;
    }
    if (attach_ == nullptr || !attach_(enabled)) {
        drain(); // nobody kept frames away
    }
}

void FileQueue::drain() {
    // More than a queue of the kernel is long.
    constexpr unsigned most = 10000;
    std::array<std::uint8_t, 64> start{};
    for (unsigned i = 0; i<most&& ::read(descriptor_.get(), start.data(), start.size())> 0; ++i) {
    }
}

} // namespace croft::vsp::network
