// SPDX-License-Identifier: Apache-2.0
#include "disk/uring_ring.hpp"

#include <cerrno>
#include <sys/eventfd.h>
#include <unistd.h>

namespace croft::disk {

UringRing::Wakeup::Wakeup(UringRing& owner)
    : Completion{[](Completion& completion, int) noexcept {
          static_cast<Wakeup&>(completion).ring.arm_wakeup();
      }},
      ring{owner} {}

Result<std::unique_ptr<UringRing>> UringRing::create(unsigned entries) {
    std::unique_ptr<UringRing> made{new UringRing};
    if (const int error = io_uring_queue_init(entries, &made->ring_, 0); error < 0)
        return std::unexpected(Error::system("io_uring", "set up a ring", -error));
    made->ready_ = true;
    made->event_ = eventfd(0, EFD_CLOEXEC);
    if (made->event_ < 0)
        return std::unexpected(Error::system("eventfd", "make the wake-up of a ring", errno));
    made->arm_wakeup();
    return made;
}

UringRing::~UringRing() {
    while (posting_.load(std::memory_order_acquire) != 0)
        std::this_thread::yield();
    if (ready_)
        io_uring_queue_exit(&ring_);
    if (event_ >= 0)
        close(event_);
}

void UringRing::read(int descriptor, std::span<const iovec> segments, std::uint64_t offset,
    Completion& completion) noexcept {
    start({Kind::read, descriptor, static_cast<unsigned>(segments.size()), segments.data(), offset,
        &completion});
}

void UringRing::write(int descriptor, std::span<const iovec> segments, std::uint64_t offset,
    Completion& completion) noexcept {
    start({Kind::write, descriptor, static_cast<unsigned>(segments.size()), segments.data(), offset,
        &completion});
}

void UringRing::poll(int descriptor, short events, Completion& completion) noexcept {
    start({Kind::poll, descriptor, 0, nullptr, static_cast<std::uint16_t>(events), &completion});
}

void UringRing::cancel(Completion& completion) noexcept {
    // One that was never handed to the kernel is simply not handed to it.
    for (auto entry = backlog_.begin(); entry != backlog_.end(); ++entry) {
        if (entry->completion == &completion && entry->kind != Kind::cancel) {
            backlog_.erase(entry);
            post(completion, -ECANCELED);
            return;
        }
    }
    start({Kind::cancel, -1, 0, nullptr, 0, &completion});
}

void UringRing::post(Completion& completion, int result) noexcept {
    completion.posted_result = result;
    if (std::this_thread::get_id() == owner_) {
        completion.next = nullptr;
        (local_tail_ != nullptr ? local_tail_->next : local_head_) = &completion;
        local_tail_ = &completion;
        return;
    }
    posting_.fetch_add(1, std::memory_order_relaxed);
    Completion* head = remote_.load(std::memory_order_relaxed);
    do {
        completion.next = head;
    } while (!remote_.compare_exchange_weak(
        head, &completion, std::memory_order_release, std::memory_order_relaxed));
    // Only the first of a batch needs to wake the thread: it takes the whole list.
    if (head == nullptr) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto written = ::write(event_, &one, sizeof one);
    }
    posting_.fetch_sub(1, std::memory_order_release);
}

void UringRing::start(const Entry& entry) noexcept {
    if (!backlog_.empty() || !prepare(entry))
        backlog_.push_back(entry);
}

bool UringRing::prepare(const Entry& entry) noexcept {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) {
        io_uring_submit(&ring_);
        sqe = io_uring_get_sqe(&ring_);
        if (sqe == nullptr)
            return false;
    }
    switch (entry.kind) {
    case Kind::read:
        io_uring_prep_readv(
            sqe, entry.descriptor, entry.segments, entry.segment_count, entry.offset);
        break;
    case Kind::write:
        io_uring_prep_writev(
            sqe, entry.descriptor, entry.segments, entry.segment_count, entry.offset);
        break;
    case Kind::poll:
        io_uring_prep_poll_add(sqe, entry.descriptor, static_cast<unsigned>(entry.offset));
        break;
    case Kind::cancel:
        io_uring_prep_cancel(sqe, entry.completion, 0);
        io_uring_sqe_set_data(sqe, nullptr);
        return true;
    }
    io_uring_sqe_set_data(sqe, entry.completion);
    return true;
}

void UringRing::arm_wakeup() noexcept {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) {
        io_uring_submit(&ring_);
        sqe = io_uring_get_sqe(&ring_);
    }
    if (sqe == nullptr) {
        post(wakeup_, 0); // no room: try again on the next round, which will not wait
        return;
    }
    io_uring_prep_read(sqe, event_, &wakeup_.value, sizeof wakeup_.value, 0);
    io_uring_sqe_set_data(sqe, static_cast<Completion*>(&wakeup_));
}

unsigned UringRing::reap() noexcept {
    unsigned called = 0;
    io_uring_cqe* cqe = nullptr;
    while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
        auto* completion = static_cast<Completion*>(io_uring_cqe_get_data(cqe));
        const int result = cqe->res;
        io_uring_cqe_seen(&ring_, cqe);
        if (completion == nullptr)
            continue; // the answer to a request to cancel
        called += completion != &wakeup_;
        completion->complete(result);
    }
    return called;
}

unsigned UringRing::run_posted() noexcept {
    // Taken as a whole first: completions may post again, and those have to wait their turn.
    Completion* remote = remote_.exchange(nullptr, std::memory_order_acquire);
    Completion* local = std::exchange(local_head_, nullptr);
    local_tail_ = nullptr;
    Completion* in_order = nullptr;
    while (remote != nullptr)
        remote = std::exchange(remote->next, std::exchange(in_order, remote));
    unsigned called = 0;
    for (Completion* list : {local, in_order}) {
        while (list != nullptr) {
            Completion& completion = *std::exchange(list, list->next);
            called += &completion != &wakeup_;
            completion.complete(completion.posted_result);
        }
    }
    return called;
}

unsigned UringRing::run(bool wait) noexcept {
    for (;;) {
        while (!backlog_.empty() && prepare(backlog_.front()))
            backlog_.pop_front();
        unsigned called = run_posted();
        const bool may_wait = wait && called == 0 && local_head_ == nullptr && backlog_.empty();
        if (may_wait)
            io_uring_submit_and_wait(&ring_, 1);
        else if (io_uring_sq_ready(&ring_) > 0)
            io_uring_submit(&ring_);
        called += reap();
        if (called > 0 || !wait)
            return called;
    }
}

} // namespace croft::disk
