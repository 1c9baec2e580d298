// SPDX-License-Identifier: Apache-2.0
#include "cli/host_trace.hpp"

#include "cli/host_statistics.hpp"
#include "cli/trace_session.hpp"
#include "cli/trace_summary.hpp"
#include "cli/trace_text.hpp"
#include "cli/vm_command.hpp"

#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <poll.h>
#include <unistd.h>

namespace croft::cli {

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

struct TraceWords {
    bool as_json = false;
    bool summary = false;
    std::string partition;
    std::optional<unsigned> vp;
    std::vector<std::string> reasons;
    std::vector<unsigned> lps;
    std::uint64_t count = 0; // 0: no end
    std::string duration;
};

// Standard output is closed: nobody wants more.
struct OutputClosed {};

void write_out(const std::string& text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0)
        return;
    const int error = errno;
    if (error == EPIPE)
        throw OutputClosed{};
    throw HostError(fmt::format("cannot write: {}", std::strerror(error)));
}

// Waits as long; notices that nobody reads the output any more.
void pause_for(int milliseconds) {
    pollfd output{.fd = STDOUT_FILENO, .events = 0, .revents = 0};
    if (poll(&output, 1, milliseconds) > 0 && (output.revents & (POLLERR | POLLHUP)) != 0)
        throw OutputClosed{};
}

class Wanted {
public:
    explicit Wanted(const TraceWords& words) : vp_(words.vp) {
        if (!words.partition.empty())
            partition_ = words.partition == "root" ? 1 : std::stoull(words.partition);
        for (const std::string& name : words.reasons)
            reasons_ |= reasons_named(name);
        if (words.reasons.empty())
            reasons_.set();
    }

    bool operator()(const hv_exit_trace_record& record) const {
        const bool reason =
            record.reason >= reasons_.size() ? reasons_.all() : reasons_[record.reason];
        return reason && (!partition_ || record.partition_id == *partition_) &&
            (!vp_ || record.vp_index == *vp_);
    }

private:
    std::optional<std::uint64_t> partition_;
    std::optional<unsigned> vp_;
    ReasonSet reasons_;
};

// From beginning to end.
class Tracer {
public:
    explicit Tracer(const TraceWords& words) : words_(words), wanted_(words), session_(words.lps) {}

    Exit run() {
        try {
            show_heading();
            while (!is_done())
                next();
            show(session_.end());
            if (words_.summary)
                show_summary();
        } catch (const OutputClosed&) {
            return Exit::success;
        }
        return interrupted ? Exit::interrupted : Exit::success;
    }

private:
    [[nodiscard]] double seconds() const {
        return std::chrono::duration<double>(Clock::now() - begin_).count();
    }

    [[nodiscard]] bool is_done() const {
        double limit = std::numeric_limits<double>::infinity();
        if (!words_.duration.empty())
            (void)parse_duration(words_.duration, limit);
        return interrupted || is_enough() || seconds() >= limit;
    }
    [[nodiscard]] bool is_enough() const { return words_.count != 0 && shown_ >= words_.count; }

    // The ring of a logical processor lasts for 512 exits: the more come, the sooner it is read.
    void next() {
        constexpr int longest = 8; // milliseconds
        const TraceSession::Round round = session_.read();
        show(round);
        if (round.is_busy)
            pause_ = 0;
        else
            pause_ = round.exits.size() < HV_EXIT_TRACE_MAX_RECORDS / 2
                ? std::min(2 * pause_ + 1, longest)
                : 1;
        if (!is_done())
            pause_for(pause_);
    }

    void show_heading() const {
        if (!words_.as_json && !words_.summary)
            write_out(trace_heading() + '\n');
    }

    void show(const TraceSession::Round& round) {
        std::string lines;
        for (const LostExits& lost : round.losses)
            note(lost, lines);
        for (const TracedExit& exit : round.exits) {
            const bool is_wanted = !is_enough() && wanted_(exit.record);
            if (words_.summary)
                summary_.add(exit, is_wanted);
            else if (is_wanted)
                lines += words_.as_json ? trace_json(session_, exit).dump() + '\n'
                                        : trace_line(session_, exit) + '\n';
            shown_ += is_wanted ? 1 : 0;
        }
        if (!lines.empty())
            write_out(lines);
    }

    // Not behind the last one that was asked for.
    void note(const LostExits& lost, std::string& lines) {
        if (is_enough())
            return;
        if (words_.summary)
            summary_.add(lost);
        else if (words_.as_json)
            lines += json{{"lp", lost.lp}, {"lost", lost.count}}.dump() + '\n';
        else
            fmt::print(stderr, "croft host: {} exits of logical processor {} are lost\n",
                lost.count, lost.lp);
    }

    void show_summary() const {
        write_out(
            words_.as_json ? summary_.to_json(seconds()).dump(2) + '\n' : summary_.text(seconds()));
    }

    const TraceWords& words_;
    const Wanted wanted_;
    TraceSession session_;
    TraceSummary summary_{session_};
    Clock::time_point begin_ = Clock::now();
    std::uint64_t shown_ = 0;
    int pause_ = 0;
};

std::string check_partition(const std::string& text) {
    std::uint64_t id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    const bool is_number = error == std::errc{} && end == text.data() + text.size() && id != 0;
    return text == "root" || is_number ? "" : "found " + text + ", expected 'root' or a number";
}

std::string check_duration(const std::string& text) {
    double seconds = 0;
    return parse_duration(text, seconds)
        ? ""
        : "found " + text + ", expected a time such as 10s or 500ms";
}

std::string check_reason(const std::string& text) {
    return reasons_named(text).any()
        ? ""
        : fmt::format("found {}, expected one of {}", text, fmt::join(reason_names(), ", "));
}

void add_words(CLI::App& command, TraceWords& words) {
    command.add_flag("--json", words.as_json, "For programs: an object a line");
    command.add_option("--partition", words.partition, "Only of this partition")
        ->type_name("ID")
        ->check(check_partition);
    command.add_option("--vp", words.vp, "Only of virtual processors of this index")
        ->type_name("N");
    command.add_option("--reason", words.reasons, "Only of these reasons")
        ->type_name("NAME")
        ->delimiter(',')
        ->check(check_reason);
    command.add_option("--lp", words.lps, "Only on these logical processors")
        ->type_name("N")
        ->delimiter(',')
        ->check(CLI::Range(0u, HV_EXIT_TRACE_MAX_LPS - 1));
    command.add_option("--count", words.count, "Ends after so many exits")->type_name("N");
    command.add_option("--duration", words.duration, "Ends after so long: 10s, 500ms, 2m")
        ->type_name("TIME")
        ->check(check_duration);
    command.add_flag(
        "--summary", words.summary, "How many of each reason and how long they took, at the end");
}

} // namespace

bool parse_duration(const std::string& text, double& seconds) {
    struct Unit {
        const char* name;
        double seconds;
    };
    constexpr Unit units[] = {{"", 1}, {"s", 1}, {"ms", 1e-3}, {"m", 60}, {"h", 3600}};
    constexpr double longest = 1e9;
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{})
        return false;
    const std::string_view rest =
        std::string_view{text}.substr(static_cast<std::size_t>(end - text.data()));
    for (const Unit& unit : units)
        if (rest == unit.name) {
            seconds = number * unit.seconds;
            return seconds > 0 && seconds < longest;
        }
    return false;
}

void add_trace_command(CLI::App& host, Exit& exit) {
    const auto words = std::make_shared<TraceWords>();
    CLI::App* const command =
        host.add_subcommand("trace", "Exits of virtual processors, as they come");
    add_words(*command, *words);
    command->callback([&exit, words] {
        (void)std::signal(SIGPIPE, SIG_IGN);
        try {
            exit = Tracer(*words).run();
        } catch (const HostError& error) {
            if (words->as_json)
                print_json({{"error", error.what()}});
            fmt::print(stderr, "croft host: {}\n", error.what());
            exit = Exit::failure;
        }
    });
}

} // namespace croft::cli
