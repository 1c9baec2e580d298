// SPDX-License-Identifier: Apache-2.0
#include "worker/processor/run_gate.hpp"

#include <csignal>

namespace croft::worker {

namespace {

/// A signal that comes just before the thread enters the kernel to run its processor is lost, so it
/// is repeated at this interval until the thread has noticed.
constexpr std::chrono::milliseconds kick_interval{2};

/// Which of the gate's threads the caller is.
thread_local std::size_t current_thread = 0;

} // namespace

int RunGate::signal_number() {
    return SIGRTMIN;
}

void RunGate::prepare() {
    struct sigaction action {};
    action.sa_handler = [](int) {
    };
    sigemptyset(&action.sa_mask);
    sigaction(signal_number(), &action, nullptr); // without SA_RESTART: the run has to end
}

void RunGate::enter(std::size_t index) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal_number());
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    current_thread = index;
    const std::lock_guard lock(mutex_);
    threads_[index].handle = pthread_self();
    threads_[index].is_present = true;
}

void RunGate::leave(std::size_t index) {
    const std::lock_guard lock(mutex_);
    threads_[index].is_present = false;
    changed_.notify_all();
}

bool RunGate::pass() {
    if (state_.load(std::memory_order_acquire) == State::open) {
        return true;
    }
    std::unique_lock lock(mutex_);
    Thread& self = threads_[current_thread];
    self.is_waiting = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return state_.load() != State::closed; });
    self.is_waiting = false;
    return state_.load() == State::open;
}

void RunGate::idle(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, time, [this] { return state_.load() != State::open; });
}

void RunGate::open() {
    const std::lock_guard lock(mutex_);
    if (state_.load() != State::ended) {
        state_.store(State::open, std::memory_order_release);
    }
    changed_.notify_all();
}

void RunGate::close() {
    halt(State::closed);
}

void RunGate::end() {
    halt(State::ended);
}

void RunGate::halt(State state) {
    std::unique_lock lock(mutex_);
    if (state_.load() != State::ended) {
        state_.store(state, std::memory_order_release);
    }
    changed_.notify_all();
    while (kick_the_running()) {
        changed_.wait_for(lock, kick_interval);
    }
}

bool RunGate::kick_the_running() const {
    const bool ended = state_.load() == State::ended;
    bool any = false;
    for (const Thread& thread : threads_) {
        if (thread.is_present && (ended || !thread.is_waiting)) {
            any = true;
            pthread_kill(thread.handle, signal_number());
        }
    }
    return any;
}

} // namespace croft::worker
