// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/file_descriptor.hpp"

#include <chrono>
#include <csignal>
#include <functional>
#include <optional>
#include <thread>

namespace croft::worker {

/// Has the worker end when a signal or somebody else says so, whatever its other threads wait for.
/// It has a thread of its own for that: the host's storage may hang, and with it whoever waits for
/// a disk.
class Ending {
public:
    struct Steps {
        /// Begins the orderly end. Mustn't wait.
        std::function<void()> begin;
        /// After the patience is over: ends the process. What was durable stays so, as when a
        /// worker is killed.
        std::function<void()> give_up;
    };
    /// SIGINT, SIGTERM and SIGHUP arrive here from now on, and reach no thread that this one makes.
    /// The steps are called on the object's thread. Errors: SystemError.
    Ending(std::chrono::milliseconds patience, Steps steps);
    ~Ending();
    Ending(const Ending&) = delete;
    Ending& operator=(const Ending&) = delete;

    /// As a signal does. Any thread.
    void ask();
    /// No step is called any more after this.
    void close();

private:
    using Clock = std::chrono::steady_clock;

    void block_signals();
    void watch();
    [[nodiscard]] int time_left() const;

    const std::chrono::milliseconds patience_;
    const Steps steps_;
    sigset_t before_{};
    FileDescriptor signals_;
    FileDescriptor asked_;
    FileDescriptor closing_;
    /// Since it was asked to end.
    std::optional<Clock::time_point> deadline_;
    std::thread thread_;
};

} // namespace croft::worker
