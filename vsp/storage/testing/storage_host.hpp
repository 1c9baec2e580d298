// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/disk.hpp"
#include "disk/uring_ring.hpp"
#include "tests/disk/memory_store.hpp"
#include "vsp/storage/controller.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

namespace croft::vsp::storage::testing {

/// The host's side on the test's own thread: what is posted to the bus, and a ring. It gets on when
/// it is told to.
class StorageHost {
public:
    StorageHost();
    ~StorageHost();
    StorageHost(const StorageHost&) = delete;
    StorageHost& operator=(const StorageHost&) = delete;

    [[nodiscard]] Threads threads();
    /// For vmbus::testing::ModelGuest: waits for something to do and does it. False if nothing
    /// comes for seconds: then somebody was not woken.
    bool work();
    /// Does what is to be done, and waits for nothing.
    void settle();

private:
    /// Ends a wait for what doesn't come.
    class Watchdog final : public disk::Completion {
    public:
        Watchdog();
        ~Watchdog();
        Watchdog(const Watchdog&) = delete;
        Watchdog& operator=(const Watchdog&) = delete;
        void arm(disk::Ring& ring);
        bool barked = false;

    private:
        int timer_;
        bool is_listening_ = false;
        std::uint64_t count_ = 0;
        iovec segment_{&count_, sizeof(count_)};
    };

    bool run_posted();

    std::deque<std::function<void()>> posted_;
    std::unique_ptr<Watchdog> watchdog_;
    std::unique_ptr<disk::UringRing> ring_;
};

/// A raw disk in memory.
class MemoryDisk {
public:
    explicit MemoryDisk(
        std::uint64_t size, disk::Format format = disk::Format::raw, bool read_only = false);

    [[nodiscard]] disk::Disk& disk() { return *disk_; }
    [[nodiscard]] disk::test::MemoryStore::Contents& contents() { return *contents_; }

private:
    std::shared_ptr<disk::test::MemoryStore::Contents> contents_;
    std::unique_ptr<disk::Disk> disk_;
};

} // namespace croft::vsp::storage::testing
