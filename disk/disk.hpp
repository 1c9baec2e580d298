// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/chain.hpp"
#include "disk/gate.hpp"
#include "disk/request.hpp"
#include "disk/ring.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace croft::disk {

class Service;
class WriteTracker;

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
    // For who knows that the chain does not change meanwhile: see Maintenance.
    Chain& chain() { return *chain_; }

    // Has the first error of each kind told that a request meets in the disk's files: whoever owns
    // them is not whom the request fails. `told` may be called on any thread, and on two at once.
    // Before the first queue.
    void on_error(std::function<void(const Error&)> told) { told_ = std::move(told); }

    // The queue must not outlive the disk or the ring.
    std::unique_ptr<Queue> open_queue(Ring& ring);

    // Blocking; requests beyond the new end must be over. Geometry has the new size afterwards.
    // Refused while the disk is under maintenance.
    Result<void> resize(std::uint64_t size);
    // Likewise; the disk has the size that its file or device has got meanwhile.
    Result<void> take_all();
    // Which disk it is: what its format or its device says, else which file it is. Empty if nothing
    // tells.
    std::string identity() const;
    // Blocking: all becomes durable, the files are marked as cleanly closed. Maintenance must be
    // over.
    Result<void> close();

    class Maintenance;

private:
    friend class Queue;

    bool wants_error(ErrorCode code) noexcept;
    void tell(const Error& error);

    std::unique_ptr<Chain> chain_;
    std::unique_ptr<Service> service_;
    Gate gate_;
    WriteTracker* tracker_ = nullptr; // changes only while the gate is closed
    std::mutex maintenance_;          // held by who changes the chain or its size
    mutable std::mutex structure_;    // guards the chain's images against geometry()
    bool closed_ = false;
    std::function<void(const Error&)> told_;
    std::atomic<std::uint32_t> told_kinds_{0}; // a bit for each ErrorCode
};

// The right to change a disk's chain of files while its queues are in use. One at a time.
class Disk::Maintenance final {
public:
    // Refused, with `in_use`, while somebody else has it.
    static Result<Maintenance> begin(Disk& disk);

    Disk& disk() { return *disk_; }
    // Has every change of the disk's contents marked from now on, or with null no longer. Only
    // within a Pause.
    void track(WriteTracker* tracker) { disk_->tracker_ = tracker; }

    // A moment in which no request is under way: those that were submitted are over, new ones wait.
    // Queues that have requests in flight have to run their rings.
    class Pause final {
    public:
        explicit Pause(Maintenance& maintenance);
        Pause(const Pause&) = delete;
        Pause& operator=(const Pause&) = delete;
        ~Pause();

    private:
        Disk& disk_;
        std::unique_lock<std::mutex> structure_;
    };

private:
    Maintenance(Disk& disk, std::unique_lock<std::mutex> lock)
        : disk_{&disk},
          lock_{std::move(lock)} {}

    Disk* disk_;
    std::unique_lock<std::mutex> lock_;
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

    // Waiting requests go on once the disk's gate is open again.
    class Reopened final : public Completion {
    public:
        explicit Reopened(Queue& owner);
        Queue& queue;
    };

    void start(Request& request) noexcept;
    void start_waiting() noexcept;
    void changed(const Request& request, std::uint64_t offset, std::uint64_t length) noexcept;
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
    void tell_io_error(const Part& part, int result, int error);
    void fail(Request& request, Status status, std::optional<std::uint64_t> at = {}) noexcept;
    void finish(Request& request, bool may_call) noexcept;

    Disk& disk_;
    Ring& ring_;
    Part* free_ = nullptr;
    Part* active_ = nullptr;
    Request* waiting_ = nullptr; // for the gate, in order
    Request* last_waiting_ = nullptr;
    unsigned in_flight_ = 0;
    Reopened reopened_;
    Gate::Lane lane_;
};

} // namespace croft::disk
