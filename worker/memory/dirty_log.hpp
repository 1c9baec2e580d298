// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/partition.hpp"
#include "worker/memory/guest_memory.hpp"

#include <cstdint>
#include <mutex>
#include <vector>

namespace croft::worker {

/// Pages of 4 KiB that follow one another.
struct PageRange {
    std::uint64_t first = 0; ///< number of a guest physical page
    std::uint64_t count = 0;
    bool operator==(const PageRange&) const = default;
};

/// Which pages of a VM's memory have been written, by the guest or by the worker through
/// GuestMemory: for a copy of the memory to be brought up to date while the VM runs. Exact to 4
/// KiB: while the log is on, the hypervisor maps nothing in large pages. Pages of the guest's that
/// hold page tables count as written when the processor walks them. Any thread; errors:
/// HypervisorError.
///
/// Not in it is what VMBus and its service providers write, in this process or another: rings, and
/// data in buffers that the guest has given them. They share those pages with the guest
/// (GuestMemory::shared_page), and the kernel writes into them by itself. Whoever copies the memory
/// of a VM that has channels open knows from this log alone what the guest has written, not what it
/// was given.
///
/// The log is one of a partition: a reset of the VM, which begins with a new one, ends it.
class DirtyLog {
public:
    DirtyLog(GuestMemory& memory, hv::Partition& partition)
        : memory_(memory),
          partition_(partition) {}
    ~DirtyLog();
    DirtyLog(const DirtyLog&) = delete;
    DirtyLog& operator=(const DirtyLog&) = delete;

    /// All that is written after this returns is in the log.
    void start();

    /// What has been written since start() or since the last time, in ascending order: each write
    /// in this answer can be read now, or it is in the next one. Errors: also Error if the log is
    /// not on.
    [[nodiscard]] std::vector<PageRange> collect();

    /// What has not been collected is forgotten. Does nothing if the log is not on.
    void stop();

private:
    [[nodiscard]] PageBitmap take(std::size_t range);

    GuestMemory& memory_;
    hv::Partition& partition_;
    std::mutex mutex_;
    bool on_ = false;
};

} // namespace croft::worker
