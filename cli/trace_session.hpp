// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/exit_trace.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

namespace croft::cli {

// One exit of a virtual processor, and the logical processor that saw it.
struct TracedExit {
    unsigned lp = 0;
    hv_exit_trace_record record{};
};

// Exits that were overwritten before they could be read.
struct LostExits {
    unsigned lp = 0;
    std::uint64_t count = 0;
};

// Tracing is on while this lives, and off afterwards: also if the process is killed, by a second
// one that waits for its end. What a tracer of both has left on is switched off first.
class TraceSession {
public:
    // `lps`: the logical processors that are asked; all if there is none.
    // Errors: HostError that says what to do.
    explicit TraceSession(std::vector<unsigned> lps);
    TraceSession(const TraceSession&) = delete;
    TraceSession& operator=(const TraceSession&) = delete;
    ~TraceSession();

    struct Round {
        std::vector<TracedExit> exits; // by time, and later than all before
        std::vector<LostExits> losses;
        bool is_busy = false; // there may be more at once
    };
    // What has come. Exits stay back as long as one that came earlier may still appear.
    Round read();
    // Switches it off; answers those that had stayed back. Errors: HostError.
    Round end();

    [[nodiscard]] double microseconds(std::uint64_t ticks) const;
    // When something was, by the clock of this machine; good to some microseconds.
    [[nodiscard]] std::chrono::nanoseconds since_epoch(std::uint64_t time) const;

private:
    class Keeper;

    void take(unsigned lp, const hv_exit_trace& answer, Round& round);
    void give(std::uint64_t before, Round& round);

    std::unique_ptr<hv::ExitTrace> trace_;
    std::unique_ptr<Keeper> keeper_;
    std::vector<unsigned> lps_;
    std::vector<TracedExit> waiting_;
    double ticks_per_microsecond_ = 1;
    std::uint64_t origin_ = 0; // of the time-stamp counter, at
    std::chrono::nanoseconds origin_since_epoch_{};
};

} // namespace croft::cli
