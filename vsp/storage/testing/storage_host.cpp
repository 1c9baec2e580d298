// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/testing/storage_host.hpp"

#include "disk/raw_image.hpp"

#include <sys/timerfd.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace croft::vsp::storage::testing {

StorageHost::Watchdog::Watchdog()
    : Completion([](Completion& completion, int) noexcept {
          auto& self = static_cast<Watchdog&>(completion);
          self.is_listening_ = false;
          self.barked = true;
      }),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) {}

StorageHost::Watchdog::~Watchdog() {
    ::close(timer_);
}

void StorageHost::Watchdog::arm(disk::Ring& ring) {
    constexpr itimerspec patience{{0, 0}, {10, 0}};
    timerfd_settime(timer_, 0, &patience, nullptr);
    if (!std::exchange(is_listening_, true)) {
        ring.read(timer_, {&segment_, 1}, 0, *this);
    }
}

StorageHost::StorageHost()
    : watchdog_(std::make_unique<Watchdog>()),
      ring_(disk::UringRing::create().value()) {}

StorageHost::~StorageHost() = default;

Threads StorageHost::threads() {
    return {{ring_.get()}, [this](std::function<void()> function) {
                posted_.push_back(std::move(function));
            }};
}

bool StorageHost::run_posted() {
    if (posted_.empty()) {
        return false;
    }
    for (auto functions = std::exchange(posted_, {}); !functions.empty(); functions.pop_front()) {
        functions.front()();
    }
    return true;
}

bool StorageHost::work() {
    if (run_posted() || ring_->run(false) != 0) {
        return true;
    }
    watchdog_->arm(*ring_);
    ring_->run(true);
    return !watchdog_->barked;
}

void StorageHost::settle() {
    while (run_posted() || ring_->run(false) != 0) {
    }
}

MemoryDisk::MemoryDisk(std::uint64_t size, disk::Format format, bool read_only)
    : contents_(std::make_shared<disk::test::MemoryStore::Contents>()) {
    contents_->bytes.resize(size);
    auto store = std::make_unique<disk::test::MemoryStore>(contents_, read_only);
    std::vector<std::unique_ptr<disk::Image>> images;
    images.push_back(
        disk::RawImage::open(std::move(store), format, format == disk::Format::iso ? 2048 : 512)
            .value());
    disk_ = std::make_unique<disk::Disk>(std::make_unique<disk::Chain>(std::move(images)));
}

} // namespace croft::vsp::storage::testing
