// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/disk.hpp"
#include "disk/uring_ring.hpp"

#include <array>
#include <memory>
#include <span>

namespace croft::disk::test {

// One thread with a ring and a queue, which runs requests to their end.
class QueueDriver {
public:
    explicit QueueDriver(Disk& disk)
        : ring_{UringRing::create().value()},
          queue_{disk.open_queue(*ring_)} {}

    UringRing& ring() { return *ring_; }
    Queue& queue() { return *queue_; }

    Status run(Request& request) {
        bool over = false;
        request.context = &over;
        request.done = [](Request& ended) noexcept {
            *static_cast<bool*>(ended.context) = true;
        };
        queue_->submit(request);
        while (!over)
            ring_->run(true);
        return request.status;
    }

    Status read(std::uint64_t offset, std::span<std::byte> bytes) {
        const std::array segments{iovec{bytes.data(), bytes.size()}};
        Request request;
        request.offset = offset;
        request.length = bytes.size();
        request.segments = segments;
        return run(request);
    }

    Status write(std::uint64_t offset, std::span<std::byte> bytes, bool durable = false) {
        const std::array segments{iovec{bytes.data(), bytes.size()}};
        Request request;
        request.operation = Operation::write;
        request.durable = durable;
        request.offset = offset;
        request.length = bytes.size();
        request.segments = segments;
        return run(request);
    }

    Status simple(Operation operation, std::uint64_t offset = 0, std::uint64_t length = 0) {
        Request request;
        request.operation = operation;
        request.offset = offset;
        request.length = length;
        return run(request);
    }

private:
    std::unique_ptr<UringRing> ring_;
    std::unique_ptr<Queue> queue_;
};

} // namespace croft::disk::test
