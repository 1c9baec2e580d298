// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/ring.hpp"
#include "disk/uring_ring.hpp"

#include <cstddef>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

namespace croft::vsp {

/// The threads on which a VM's disks, or its network, are served, each with an io_uring of its own.
class RingThreads {
public:
    /// Each is called `name` and its number. Errors: DeviceError.
    RingThreads(std::string_view name, std::size_t count);
    /// Ends and joins them; nothing may be under way on them.
    ~RingThreads();
    RingThreads(const RingThreads&) = delete;
    RingThreads& operator=(const RingThreads&) = delete;

    [[nodiscard]] std::vector<disk::Ring*> rings() const;

private:
    class Worker;

    std::vector<std::unique_ptr<Worker>> workers_;
};

} // namespace croft::vsp
