// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/error.hpp"
#include "disk/ring.hpp"

#include <atomic>
#include <deque>
#include <liburing.h>
#include <memory>
#include <thread>
#include <utility>

namespace croft::disk {

// A Ring with an io_uring of its own, for threads that have no Executor. It belongs to the thread
// that made it.
class UringRing final : public Ring {
public:
    // `entries`: how many operations one submission may carry; more may be in flight.
    static Result<std::unique_ptr<UringRing>> create(unsigned entries = 128);
    ~UringRing() override;

    void read(int descriptor, std::span<const iovec> segments, std::uint64_t offset,
        Completion& completion) noexcept override;
    void write(int descriptor, std::span<const iovec> segments, std::uint64_t offset,
        Completion& completion) noexcept override;
    void poll(int descriptor, short events, Completion& completion) noexcept override;
    void cancel(Completion& completion) noexcept override;
    void post(Completion& completion, int result) noexcept override;

    // Submits what was queued and calls the completions that are due. With `wait`, blocks until at
    // least one has been called. Answers how many were.
    unsigned run(bool wait) noexcept;

private:
    enum class Kind : std::uint8_t { read, write, poll, cancel };
    struct Entry {
        Kind kind;
        int descriptor;
        unsigned segment_count;
        const iovec* segments;
        std::uint64_t offset; // of a poll, the events
        Completion* completion;
    };
    // The list of posted completions is closed with this when the thread is awake for certain.
    class Wakeup final : public Completion {
    public:
        explicit Wakeup(UringRing& ring);
        UringRing& ring;
        std::uint64_t value = 0;
    };

    UringRing() : wakeup_{*this}, owner_{std::this_thread::get_id()} {}
    void start(const Entry& entry) noexcept;
    bool prepare(const Entry& entry) noexcept;
    void arm_wakeup() noexcept;
    unsigned reap() noexcept;
    unsigned run_posted() noexcept;

    io_uring ring_{};
    bool ready_ = false;
    int event_ = -1;
    Wakeup wakeup_;
    std::thread::id owner_;
    std::deque<Entry> backlog_;
    Completion* local_head_ = nullptr; // posted by the ring's own thread, oldest first
    Completion* local_tail_ = nullptr;
    std::atomic<Completion*> remote_{nullptr}; // posted by other threads, newest first
    // Threads that are inside post(): what they posted may be over, and the ring about to go,
    // before they have woken it.
    std::atomic<unsigned> posting_{0};
};

} // namespace croft::disk
