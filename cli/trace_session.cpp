// SPDX-License-Identifier: Apache-2.0
#include "cli/trace_session.hpp"

#include "cli/host_statistics.hpp"
#include "cli/trace_source.hpp"
#include "hv/error.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits>
#include <numeric>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace croft::cli {

namespace {

constexpr auto no_end = std::numeric_limits<std::uint64_t>::max();

// Calls `f()`; what the hypervisor's library throws becomes a HostError.
template <class F>
auto translated(F&& f) {
    try {
        return f();
    } catch (const hv::HypervisorError& error) {
        throw HostError(error.what());
    }
}

// For each logical processor that there is. Answers how many.
unsigned end_all(hv::ExitTrace& trace) {
    const unsigned count = trace.end(0).lp_count;
    for (unsigned lp = 1; lp < count; ++lp)
        (void)trace.end(lp);
    return count;
}

std::chrono::nanoseconds now_since_epoch() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    return std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec};
}

} // namespace

// A process that switches tracing off when this one has ended, however it did.
class TraceSession::Keeper {
public:
    explicit Keeper(hv::ExitTrace& trace) : trace_(trace) {
        std::array<int, 2> ends{};
        if (pipe2(ends.data(), O_CLOEXEC) != 0)
            throw HostError(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
        process_ = fork();
        if (process_ < 0) {
            const int error = errno;
            close(ends[0]);
            close(ends[1]);
            throw HostError(fmt::format("cannot make a process: {}", std::strerror(error)));
        }
        if (process_ == 0) {
            close(ends[1]);
            keep(ends[0]);
        }
        close(ends[0]);
        held_ = ends[1];
    }
    Keeper(const Keeper&) = delete;
    Keeper& operator=(const Keeper&) = delete;
    ~Keeper() {
        try {
            finish();
        } catch (const HostError&) { // the next tracer begins with that
        }
    }

    void finish() {
        // It may have been killed.
        if (!wait())
            (void)translated([this] { return end_all(trace_); });
    }

private:
    // A session of its own: what the terminal sends to the others doesn't come here.
    [[noreturn]] void keep(int held) {
        (void)setsid();
        for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT})
            (void)std::signal(signal, SIG_IGN);
        close(STDIN_FILENO);
        close(STDOUT_FILENO);
        char nothing = 0;
        while (::read(held, &nothing, 1) < 0 && errno == EINTR) {
        }
        try {
            (void)end_all(trace_);
            _exit(0);
        } catch (...) {
            _exit(1);
        }
    }

    // Whether it has done its work.
    bool wait() {
        if (held_ < 0)
            return true;
        close(std::exchange(held_, -1));
        int status = 0;
        while (waitpid(process_, &status, 0) < 0 && errno == EINTR) {
        }
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }

    hv::ExitTrace& trace_;
    pid_t process_ = -1;
    int held_ = -1; // closed by the end of the process
};

TraceSession::TraceSession(std::vector<unsigned> lps) : lps_(std::move(lps)) {
    trace_ = translated(open_trace_source);
    const unsigned count = translated([this] { return end_all(*trace_); });
    if (lps_.empty()) {
        lps_.resize(count);
        std::iota(lps_.begin(), lps_.end(), 0u);
    }
    for (const unsigned lp : lps_)
        if (lp >= count)
            throw HostError(fmt::format(
                "found no logical processor {}; expected one of 0 to {}", lp, count - 1));
    keeper_ = std::make_unique<Keeper>(*trace_);
    for (const unsigned lp : lps_) {
        const hv_exit_trace answer = translated([this, lp] { return trace_->read(lp); });
        origin_since_epoch_ = now_since_epoch();
        origin_ = answer.time;
        ticks_per_microsecond_ = std::max(static_cast<double>(answer.tsc_frequency) / 1e6, 1e-6);
    }
}

TraceSession::~TraceSession() = default;

void TraceSession::take(unsigned lp, const hv_exit_trace& answer, Round& round) {
    if (answer.lost != 0)
        round.losses.push_back({lp, answer.lost});
    const std::size_t count = std::min<std::size_t>(answer.count, HV_EXIT_TRACE_MAX_RECORDS);
    for (std::size_t i = 0; i < count; ++i)
        waiting_.push_back({lp, answer.records[i]});
}

void TraceSession::give(std::uint64_t before, Round& round) {
    const auto time_of = [](const TracedExit& exit) {
        return exit.record.time;
    };
    std::ranges::stable_sort(waiting_, {}, time_of);
    const auto end = std::ranges::lower_bound(waiting_, before, {}, time_of);
    round.exits.assign(waiting_.begin(), end);
    waiting_.erase(waiting_.begin(), end);
}

TraceSession::Round TraceSession::read() {
    constexpr unsigned most_readings = 16; // of one that is quicker than we are
    Round round;
    std::uint64_t before = no_end;
    for (const unsigned lp : lps_) {
        for (unsigned i = 0; i < most_readings; ++i) {
            const hv_exit_trace answer = translated([this, lp] { return trace_->read(lp); });
            take(lp, answer, round);
            if (answer.count < HV_EXIT_TRACE_MAX_RECORDS) {
                before = std::min(before, answer.open_since != 0 ? answer.open_since : answer.time);
                break;
            }
            round.is_busy = true;
            if (i + 1 == most_readings)
                before = std::min(before, answer.records[HV_EXIT_TRACE_MAX_RECORDS - 1].time);
        }
    }
    give(before, round);
    return round;
}

TraceSession::Round TraceSession::end() {
    Round round = read();
    keeper_->finish();
    std::vector<TracedExit> exits = std::move(round.exits);
    give(no_end, round);
    round.exits.insert(round.exits.begin(), exits.begin(), exits.end());
    return round;
}

double TraceSession::microseconds(std::uint64_t ticks) const {
    return static_cast<double>(ticks) / ticks_per_microsecond_;
}

std::chrono::nanoseconds TraceSession::since_epoch(std::uint64_t time) const {
    const auto ticks = static_cast<double>(static_cast<std::int64_t>(time - origin_));
    return origin_since_epoch_ +
        std::chrono::nanoseconds{static_cast<std::int64_t>(ticks * 1e3 / ticks_per_microsecond_)};
}

} // namespace croft::cli
