// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/io_loop.hpp"

#include "worker/error.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <future>
#include <optional>
#include <sys/eventfd.h>
#include <utility>

namespace croft::worker {

namespace {
constexpr unsigned ring_entries = 256;
} // namespace

/// A timer in the loop's queue. Everything in it is under the loop's timer mutex.
class IoLoop::LoopTimer final : public vdev::Timer {
public:
    LoopTimer(IoLoop& loop, std::function<void()> callback)
        : loop_(loop),
          callback_(std::move(callback)) {}

    ~LoopTimer() override {
        std::unique_lock lock(loop_.timer_mutex_);
        dequeue();
        if (loop_.timer_thread_ != std::this_thread::get_id()) {
            loop_.timer_idle_.wait(lock, [this] { return loop_.running_timer_ != this; });
        }
    }
    LoopTimer(const LoopTimer&) = delete;
    LoopTimer& operator=(const LoopTimer&) = delete;

    void arm(std::uint64_t deadline) override {
        bool is_first = false;
        {
            const std::lock_guard lock(loop_.timer_mutex_);
            dequeue();
            place_ = loop_.timers_.emplace(deadline, this);
            is_first = place_ == loop_.timers_.begin();
        }
        if (is_first) {
            loop_.wake();
        }
    }

    void disarm() override {
        const std::lock_guard lock(loop_.timer_mutex_);
        dequeue();
    }

    /// Takes the timer out of the queue; the timer mutex is held.
    void dequeue() {
        if (place_) {
            loop_.timers_.erase(*place_);
            place_.reset();
        }
    }

    void call_back() const { callback_(); }

private:
    IoLoop& loop_;
    std::function<void()> callback_;
    std::optional<TimerQueue::iterator> place_;
};

IoLoop::IoLoop(const vdev::Clock& clock) : clock_(clock), wake_event_(eventfd(0, EFD_CLOEXEC)) {
    const int result = io_uring_queue_init(ring_entries, &ring_, 0);
    if (result < 0) {
        throw SystemError(
            fmt::format("io_uring: {}; run a kernel that has it (CONFIG_IO_URING) and "
                        "allows this user to use it (sysctl kernel.io_uring_disabled)",
                std::strerror(-result)));
    }
    listen_for_wake();
}

IoLoop::~IoLoop() {
    // Ends what is in flight, so that no buffer is written after its owner is gone.
    io_uring_queue_exit(&ring_);
}

void IoLoop::listen_for_wake() {
    io_uring_sqe* entry = next_entry();
    io_uring_prep_read(entry, wake_event_.get(), &wake_count_, sizeof(wake_count_), 0);
    begin(entry, [this](int) {
        if (!quit_.load(std::memory_order_relaxed)) {
            listen_for_wake();
        }
    });
}

void IoLoop::wake() {
    eventfd_write(wake_event_.get(), 1);
}

void IoLoop::quit() {
    post([this] { quit_.store(true, std::memory_order_relaxed); });
}

void IoLoop::post(std::function<void()> function) {
    {
        const std::lock_guard lock(posted_mutex_);
        posted_.push_back(std::move(function));
    }
    wake();
}

void IoLoop::post_and_wait(const std::function<void()>& function) {
    std::packaged_task<void()> task(function);
    post([&task] { task(); });
    task.get_future().get();
}

io_uring_sqe* IoLoop::next_entry() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    while (entry == nullptr) {
        io_uring_submit(&ring_);
        entry = io_uring_get_sqe(&ring_);
    }
    return entry;
}

IoLoop::OperationId IoLoop::begin(io_uring_sqe* entry, Completion done) {
    const OperationId id = next_id_++;
    io_uring_sqe_set_data64(entry, id);
    auto operation = std::make_unique<Operation>();
    operation->done = std::move(done);
    operations_.emplace(id, std::move(operation));
    return id;
}

IoLoop::OperationId IoLoop::poll(int descriptor, short events, Completion done) {
    io_uring_sqe* entry = next_entry();
    io_uring_prep_poll_add(entry, descriptor, static_cast<unsigned>(events));
    return begin(entry, std::move(done));
}

IoLoop::OperationId IoLoop::read(int descriptor, std::span<std::uint8_t> buffer, Completion done) {
    io_uring_sqe* entry = next_entry();
    io_uring_prep_read(
        entry, descriptor, buffer.data(), static_cast<unsigned>(buffer.size()), ~std::uint64_t{0});
    return begin(entry, std::move(done));
}

IoLoop::OperationId IoLoop::write(
    int descriptor, std::span<const std::uint8_t> buffer, Completion done) {
    io_uring_sqe* entry = next_entry();
    io_uring_prep_write(
        entry, descriptor, buffer.data(), static_cast<unsigned>(buffer.size()), ~std::uint64_t{0});
    return begin(entry, std::move(done));
}

IoLoop::OperationId IoLoop::accept(int descriptor, Completion done) {
    io_uring_sqe* entry = next_entry();
    io_uring_prep_accept(entry, descriptor, nullptr, nullptr, SOCK_CLOEXEC);
    return begin(entry, std::move(done));
}

IoLoop::OperationId IoLoop::after(std::uint64_t nanoseconds, Completion done) {
    io_uring_sqe* entry = next_entry();
    const OperationId id = begin(entry, std::move(done));
    __kernel_timespec& timeout = operations_.at(id)->timeout;
    timeout.tv_sec = static_cast<long long>(nanoseconds / vdev::nanoseconds_per_second);
    timeout.tv_nsec = static_cast<long long>(nanoseconds % vdev::nanoseconds_per_second);
    io_uring_prep_timeout(entry, &timeout, 0, 0);
    io_uring_sqe_set_data64(entry, id);
    return id;
}

void IoLoop::cancel(OperationId id) {
    io_uring_sqe* entry = next_entry();
    io_uring_prep_cancel64(entry, id, 0);
    begin(entry, [](int) {});
}

std::unique_ptr<vdev::Timer> IoLoop::create_timer(std::function<void()> callback) {
    return std::make_unique<LoopTimer>(*this, std::move(callback));
}

void IoLoop::run_posted() {
    std::vector<std::function<void()>> functions;
    {
        const std::lock_guard lock(posted_mutex_);
        functions.swap(posted_);
    }
    for (const auto& function : functions) {
        function();
    }
}

void IoLoop::run_timers() {
    std::unique_lock lock(timer_mutex_);
    timer_thread_ = std::this_thread::get_id();
    while (!timers_.empty() && timers_.begin()->first <= clock_.now()) {
        LoopTimer* timer = timers_.begin()->second;
        timer->dequeue();
        running_timer_ = timer;
        lock.unlock();
        timer->call_back();
        lock.lock();
        running_timer_ = nullptr;
        timer_idle_.notify_all();
    }
}

std::optional<std::uint64_t> IoLoop::until_next_timer() {
    const std::lock_guard lock(timer_mutex_);
    if (timers_.empty()) {
        return std::nullopt;
    }
    const std::uint64_t now = clock_.now();
    const std::uint64_t next = timers_.begin()->first;
    return next > now ? next - now : 0;
}

void IoLoop::wait_and_complete() {
    io_uring_cqe* completion = nullptr;
    const std::optional<std::uint64_t> wait = until_next_timer();
    if (wait) {
        __kernel_timespec timeout{};
        timeout.tv_sec = static_cast<long long>(*wait / vdev::nanoseconds_per_second);
        timeout.tv_nsec = static_cast<long long>(*wait % vdev::nanoseconds_per_second);
        io_uring_submit_and_wait_timeout(&ring_, &completion, 1, &timeout, nullptr);
    } else {
        io_uring_submit_and_wait(&ring_, 1);
    }
    while (io_uring_peek_cqe(&ring_, &completion) == 0) {
        const OperationId id = io_uring_cqe_get_data64(completion);
        const int result = completion->res;
        io_uring_cqe_seen(&ring_, completion);
        const auto found = operations_.find(id);
        if (found == operations_.end()) {
            continue;
        }
        const std::unique_ptr<Operation> operation = std::move(found->second);
        operations_.erase(found);
        operation->done(result);
    }
}

void IoLoop::run() {
    while (!quit_.load(std::memory_order_relaxed)) {
        wait_and_complete();
        run_timers();
        run_posted();
    }
}

} // namespace croft::worker
