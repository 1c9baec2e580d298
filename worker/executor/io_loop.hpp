// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/clock.hpp"
#include "worker/file_descriptor.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <liburing.h>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <unordered_map>
#include <vector>

namespace croft::worker {

/// One thread's I/O: an io_uring, the timers of the devices that it serves, and functions that
/// other threads want run on it. `run` makes the calling thread the owner. Calls marked "owner" are
/// for that thread only, or for any before `run`; the others are for any thread.
class IoLoop final : public vdev::TimerService {
public:
    /// Gets what the kernel answered: a count, or a negative errno value; -ECANCELED after
    /// `cancel`.
    using Completion = std::function<void(int result)>;
    using OperationId = std::uint64_t;

    /// Timers follow `clock`, which outlives the loop. Errors: SystemError without io_uring.
    explicit IoLoop(const vdev::Clock& clock);
    ~IoLoop() override;
    IoLoop(const IoLoop&) = delete;
    IoLoop& operator=(const IoLoop&) = delete;

    /// Serves until `quit`. Owner.
    void run();
    /// Makes `run` return once what is posted before is done.
    void quit();

    /// Runs `function` on the owner's thread, soon and in order.
    void post(std::function<void()> function);
    /// The same, waits for it, and throws what it throws. Never from the owner itself.
    void post_and_wait(const std::function<void()>& function);

    /// Calls back once when `descriptor` is ready for `events` (POLLIN, POLLOUT). Owner.
    OperationId poll(int descriptor, short events, Completion done);
    /// Reads or writes once, at the file's position; the buffer stays the caller's until called
    /// back. Owner.
    OperationId read(int descriptor, std::span<std::uint8_t> buffer, Completion done);
    OperationId write(int descriptor, std::span<const std::uint8_t> buffer, Completion done);
    /// Accepts one connection; the completion gets its descriptor. Owner.
    OperationId accept(int descriptor, Completion done);
    /// Asks to end an operation; its completion still comes. Owner.
    void cancel(OperationId id);
    /// Calls back once after `nanoseconds` of the host's time. Owner.
    OperationId after(std::uint64_t nanoseconds, Completion done);

    [[nodiscard]] std::unique_ptr<vdev::Timer> create_timer(
        std::function<void()> callback) override;

    /// Looks at the timers again, after the clock was started. Any thread.
    void wake();

private:
    class LoopTimer;
    using TimerQueue = std::multimap<std::uint64_t, LoopTimer*>;
    struct Operation {
        Completion done;
        __kernel_timespec timeout{};
    };

    io_uring_sqe* next_entry();
    OperationId begin(io_uring_sqe* entry, Completion done);
    void listen_for_wake();
    void run_posted();
    void run_timers();
    void wait_and_complete();
    [[nodiscard]] std::optional<std::uint64_t> until_next_timer();

    const vdev::Clock& clock_;
    io_uring ring_{};
    FileDescriptor wake_event_;
    std::uint64_t wake_count_ = 0;
    std::unordered_map<OperationId, std::unique_ptr<Operation>> operations_;
    OperationId next_id_ = 1;
    std::atomic<bool> quit_ = false;

    std::mutex posted_mutex_;
    std::vector<std::function<void()>> posted_;

    std::mutex timer_mutex_;
    std::condition_variable timer_idle_;
    TimerQueue timers_;
    LoopTimer* running_timer_ = nullptr;
    std::thread::id timer_thread_;
};

} // namespace croft::worker
