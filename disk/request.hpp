// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/error.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <sys/uio.h>

namespace croft::disk {

class Queue;

enum class Operation : std::uint8_t {
    read,
    write,
    flush,        // makes durable what completed, on any queue of the disk, before it was submitted
    discard,      // the guest needs the range no more; parts of it may keep their old contents
    write_zeroes, // the range reads as zeros afterwards, and takes no space where that is possible
};

// One request to a disk. The caller owns it, its segments and their memory, from submission until
// `done` is called, which happens exactly once, on the ring's thread and never inside submit().
// From within `done` the request may be destroyed or submitted again.
class Request {
public:
    using Function = void (*)(Request& request) noexcept;

    Operation operation = Operation::read;
    bool durable = false;     // of a write: complete only when it would survive a power cut
    std::uint64_t offset = 0; // bytes, a multiple of the logical sector size
    std::uint64_t length = 0; // bytes, likewise; of a read or write it is the sum of the segments
    std::span<const iovec> segments; // for read and write: where the data goes to or comes from
    Function done = nullptr;
    void* context = nullptr; // the caller's

    Status status; // valid in `done`
    // Likewise, of a read or write that failed on its way: all before this offset was moved, what
    // is there was not. None if it is not known where it failed.
    std::optional<std::uint64_t> failed_at;

    Request() = default;
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;

private:
    friend class Queue;
    std::uint64_t next_offset_ = 0; // how far the request has been cut into parts
    std::uint32_t pending_ = 0;     // parts and jobs under way
    bool cancelled_ = false;
    bool flushing_ = false; // a durable write's payload is written, its flush is under way
    Request* next_waiting_ = nullptr; // while the disk's gate is closed
};

} // namespace croft::disk
