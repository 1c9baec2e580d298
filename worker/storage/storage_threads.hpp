// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/ring.hpp"
#include "disk/uring_ring.hpp"

#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

namespace croft::worker {

/// The threads on which a VM's disks are served, each with an io_uring of its own.
class StorageThreads {
public:
    /// Errors: SystemError.
    explicit StorageThreads(std::size_t count);
    /// Ends and joins them; nothing may be under way on them.
    ~StorageThreads();
    StorageThreads(const StorageThreads&) = delete;
    StorageThreads& operator=(const StorageThreads&) = delete;

    [[nodiscard]] std::vector<disk::Ring*> rings() const;

private:
    class Worker;

    std::vector<std::unique_ptr<Worker>> workers_;
};

} // namespace croft::worker
