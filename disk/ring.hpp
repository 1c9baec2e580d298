// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <sys/uio.h>

namespace croft::disk {

// Told when an operation that was given to a Ring is over. It belongs to whoever started the
// operation, is embedded in their own record of it, and must live until it has been called.
class Completion {
public:
    // `result` is what the system call would have returned: bytes, or -errno.
    using Function = void (*)(Completion& completion, int result) noexcept;

    explicit Completion(Function function) : function_{function} {}
    Completion(const Completion&) = delete;
    Completion& operator=(const Completion&) = delete;

    void complete(int result) noexcept { function_(*this, result); }

    // For a Ring that keeps posted completions in a list; nobody else's while one is posted.
    Completion* next = nullptr;
    int posted_result = 0;

protected:
    ~Completion() = default;

private:
    Function function_;
};

// What disks need of a thread's io_uring. There is one ring a thread: the worker's Executor hands
// in its own by implementing this over it (the user data of each entry is the Completion's
// address); tools and tests that have none use UringRing.
//
// Apart from post(), all of it is called on the ring's own thread only. Nothing completes inside
// the call that started it. Entries may be held back and submitted together, at the latest when the
// thread is about to wait. Descriptors, iovec arrays and memory stay valid until completion.
class Ring {
public:
    Ring() = default;
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    virtual ~Ring() = default;

    virtual void read(int descriptor, std::span<const iovec> segments, std::uint64_t offset,
        Completion& completion) noexcept = 0;
    virtual void write(int descriptor, std::span<const iovec> segments, std::uint64_t offset,
        Completion& completion) noexcept = 0;

    // Waits until `descriptor` is ready for `events` (POLLIN, POLLOUT); the result is what it is
    // ready for.
    virtual void poll(int descriptor, short events, Completion& completion) noexcept = 0;

    // Asks that an operation end early. Best effort; it completes once in any case, with -ECANCELED
    // or as if it had not been asked.
    virtual void cancel(Completion& completion) noexcept = 0;

    // Has `completion` called with `result` on the ring's thread, which is woken if it waits. From
    // any thread. The completion may be called before post() returns in its thread.
    virtual void post(Completion& completion, int result) noexcept = 0;
};

} // namespace croft::disk
