// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <pthread.h>
#include <vector>

namespace croft::worker {

/// Lets the threads of a VM's processors run, and brings them to a halt between two instructions.
/// The threads pass it before each run; one other thread opens and closes it.
class RunGate {
public:
    /// For `count` threads; closed at first.
    explicit RunGate(std::size_t count) : threads_(count) {}

    /// Makes the calling thread number `index`, before its first `pass`.
    void enter(std::size_t index);
    /// The calling thread ends; it won't be waited for.
    void leave(std::size_t index);

    /// Waits until the gate is open. Answers false if the thread has to end.
    [[nodiscard]] bool pass();
    /// Waits a while, but not if the gate is no longer open.
    void idle(std::chrono::milliseconds time);

    void open();
    /// Returns once every thread that entered waits in `pass` or has left.
    void close();
    /// As `close`, but the threads get false and leave.
    void end();

    /// The signal that interrupts a running processor. Needs a handler that does nothing; `prepare`
    /// sets one, once for the process.
    [[nodiscard]] static int signal_number();
    static void prepare();

private:
    enum class State { closed, open, ended };
    struct Thread {
        pthread_t handle{};
        bool is_present = false;
        bool is_waiting = false;
    };

    void halt(State state);
    [[nodiscard]] bool kick_the_running() const;

    std::atomic<State> state_ = State::closed;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Thread> threads_;
};

} // namespace croft::worker
