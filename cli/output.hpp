// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace croft::cli {

// What the shell gets to know.
enum class Exit : int {
    success = 0,
    differs = 1, // of compare
    not_run = 1, // of vm run: the VM could not start, or could not go on
    failure = 2, // an error that the message tells
    // Of check and repair, as qemu-img has them:
    unchecked = 1,
    damaged = 2,
    leaks = 3,  // nothing is damaged, but a part of the file belongs to nothing
    usage = 64, // sysexits.h: the command line is wrong
    interrupted = 130,
};

// Set by SIGINT and SIGTERM once watch_signals() was called; operations stop at the next step.
extern std::atomic<bool> interrupted;
void watch_signals();

// "10G", "512M", "1.5T", "4096" in bytes; false if it is none of these. Units are powers of 1024.
bool parse_size(std::string_view text, std::uint64_t& bytes);
// "127 GiB", "4.5 MiB", "512 B"
std::string size_text(std::uint64_t bytes);

// A line on the terminal that shows how far an operation is, and how fast. Silent when standard
// error is no terminal or `quiet`.
class ProgressLine {
public:
    explicit ProgressLine(bool wanted);
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;
    ~ProgressLine();

    // False once the user wants to stop.
    bool update(std::uint64_t done, std::uint64_t total);

private:
    using Clock = std::chrono::steady_clock;

    bool shown_;
    bool any_ = false;
    std::mutex mutex_; // operations report from several threads
    Clock::time_point start_ = Clock::now();
    Clock::time_point next_ = start_;
};

} // namespace croft::cli
