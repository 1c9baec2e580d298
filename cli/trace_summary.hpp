// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/trace_session.hpp"

#include <array>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>

namespace croft::cli {

// How many exits of each reason there were, and how long they took.
class TraceSummary {
public:
    explicit TraceSummary(const TraceSession& session) : session_(session) {}

    // Each exit that was read, in the order of time; only those that are `wanted` are counted.
    void add(const TracedExit& exit, bool wanted);
    void add(const LostExits& lost) { lost_ += lost.count; }

    [[nodiscard]] std::string text(double seconds) const;
    [[nodiscard]] nlohmann::json to_json(double seconds) const;

private:
    // In ticks.
    struct Times {
        std::uint64_t count = 0;
        std::uint64_t sum = 0;
        std::uint64_t longest = 0;

        void add(std::uint64_t ticks);
    };
    struct Row {
        std::uint64_t count = 0;
        std::uint64_t for_parent = 0;
        Times took;
        Times by_parent; // until the guest went on
    };
    struct Given {
        std::uint64_t time = 0; // of the exit
        std::uint8_t reason = 0;
    };
    using Vp = std::pair<std::uint64_t, std::uint16_t>;

    void settle(const Vp& vp, const hv_exit_trace_record& next);
    [[nodiscard]] double mean(const Times& times) const;

    const TraceSession& session_;
    std::array<Row, HV_EXIT_TRACE_REASONS> rows_{};
    std::map<Vp, Given> given_; // what is with a parent
    std::uint64_t lost_ = 0;
};

} // namespace croft::cli
