// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/chain.hpp"
#include "disk/request.hpp"
#include "disk/ring.hpp"

#include <cstdint>
#include <memory>

namespace croft::disk {

class Service;

// What a device model tells its guest about a disk.
struct Geometry {
    std::uint64_t size = 0;                    // bytes
    std::uint32_t logical_sector_size = 512;   // bytes; offsets and lengths are multiples of it
    std::uint32_t physical_sector_size = 4096; // bytes
    std::uint32_t memory_alignment = 1;        // bytes; segments so aligned are not copied anywhere
    std::uint32_t discard_granularity = 0;     // bytes; 0 when discarding gives nothing back
    bool read_only = false;
};

// An open disk, shared by the threads that serve it. Each opens a Queue of its own on its own ring.
//
// Payload moves between the caller's memory and the files by io_uring with no copy in between. What
// has to block (metadata that is not in memory, making metadata durable) is done by one service
// thread of the disk, so that a queue's thread never waits. Flushes that come together are served
// as one.
class Disk final {
public:
    explicit Disk(std::unique_ptr<Chain> chain);
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;
    // All queues must be gone. Closes the disk if close() was not called; its error is lost then.
    ~Disk();

    Geometry geometry() const;
    Chain& chain() { return *chain_; }

    // The queue must not outlive the disk or the ring.
    std::unique_ptr<Queue> open_queue(Ring& ring);

    // Blocking; requests beyond the new end must be over. Geometry has the new size afterwards.
    Result<void> resize(std::uint64_t size);
    // Blocking: all becomes durable, the files are marked as cleanly closed.
    Result<void> close();

private:
    friend class Queue;

    std::unique_ptr<Chain> chain_;
    std::unique_ptr<Service> service_;
    bool closed_ = false;
};

// One thread's way to a disk. Any number of requests may be in flight. They have no order among
// each other, whatever their ranges: who needs one waits for the first before submitting the
// second. A flush covers what had completed when it was submitted.
class Queue final {
public:
    Queue(Disk& disk, Ring& ring);
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;
    // No request may be in flight.
    ~Queue();

    // Only the ring's thread calls these. Errors come by way of the request's `done`.
    void submit(Request& request) noexcept;
    // Asks that a request of this queue end early: its `done` is called in any case, with
    // `cancelled` or with what became of it. After a cancelled write the range may hold old, new or
    // mixed sectors.
    void cancel(Request& request) noexcept;

    unsigned in_flight() const { return in_flight_; }

private:
    friend class Service;
    class Part;

    Part& take_part(Request& request);
    void give_back(Part& part) noexcept;
    void advance(Request& request) noexcept;
    bool advance_read(Request& request, std::uint64_t length);
    bool advance_write(Request& request, std::uint64_t length);
    void start_io(Request& request, Image& image, const Extent& extent);
    void resume_io(Part& part) noexcept;
    void start_job(Part& part);
    void part_done(Part& part, int result) noexcept;
    void io_done(Part& part, int result) noexcept;
    void fail(Request& request, Status status) noexcept;
    void finish(Request& request, bool may_call) noexcept;

    Disk& disk_;
    Ring& ring_;
    Part* free_ = nullptr;
    Part* active_ = nullptr;
    unsigned in_flight_ = 0;
};

} // namespace croft::disk
