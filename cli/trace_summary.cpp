// SPDX-License-Identifier: Apache-2.0
#include "cli/trace_summary.hpp"

#include "cli/trace_text.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <vector>

namespace croft::cli {

using nlohmann::json;

void TraceSummary::Times::add(std::uint64_t ticks) {
    ++count;
    sum += ticks;
    longest = std::max(longest, ticks);
}

void TraceSummary::add(const TracedExit& exit, bool wanted) {
    const hv_exit_trace_record& record = exit.record;
    const Vp vp{record.partition_id, record.vp_index};
    settle(vp, record);
    if (!wanted)
        return;
    const auto reason = std::min<std::uint8_t>(record.reason, HV_EXIT_TRACE_UNEXPECTED);
    Row& row = rows_[reason];
    ++row.count;
    if (record.duration != HV_EXIT_TRACE_DURATION_UNKNOWN)
        row.took.add(record.duration);
    if (record.outcome == HV_EXIT_TRACE_PARENT) {
        ++row.for_parent;
        given_[vp] = {record.time, reason};
    }
}

// The guest went on as long before its next exit as it ran then.
void TraceSummary::settle(const Vp& vp, const hv_exit_trace_record& next) {
    const auto found = given_.find(vp);
    if (found == given_.end())
        return;
    const Given given = found->second;
    given_.erase(found);
    if (next.guest_duration == HV_EXIT_TRACE_DURATION_UNKNOWN)
        return;
    const std::uint64_t entered = next.time - next.guest_duration;
    if (entered >= given.time)
        rows_[given.reason].by_parent.add(entered - given.time);
}

double TraceSummary::mean(const Times& times) const {
    return times.count != 0 ? session_.microseconds(times.sum) / static_cast<double>(times.count)
                            : 0;
}

std::string TraceSummary::text(double seconds) const {
    std::string result = fmt::format("{:10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11} {:>11}\n",
        "REASON", "EXITS", "EXITS/s", "MEAN us", "MAX us", "TO PARENT", "P. MEAN us", "P. MAX us");
    std::vector<std::uint8_t> order;
    for (std::uint8_t reason = 0; reason < HV_EXIT_TRACE_REASONS; ++reason)
        if (rows_[reason].count != 0)
            order.push_back(reason);
    std::ranges::stable_sort(
        order, std::ranges::greater{}, [this](std::uint8_t reason) { return rows_[reason].count; });
    for (const std::uint8_t reason : order) {
        const Row& row = rows_[reason];
        result += fmt::format("{:10} {:>9} {:>9.1f} {:>9.1f} {:>9.1f} {:>9}", reason_name(reason),
            row.count, seconds > 0 ? static_cast<double>(row.count) / seconds : 0, mean(row.took),
            session_.microseconds(row.took.longest), row.for_parent);
        if (row.by_parent.count != 0)
            result += fmt::format(" {:>11.1f} {:>11.1f}", mean(row.by_parent),
                session_.microseconds(row.by_parent.longest));
        result += '\n';
    }
    if (lost_ != 0)
        result +=
            fmt::format("{} exits came faster than they could be read, and are lost.\n", lost_);
    return result;
}

json TraceSummary::to_json(double seconds) const {
    json found = json::object();
    for (std::uint8_t reason = 0; reason < HV_EXIT_TRACE_REASONS; ++reason) {
        const Row& row = rows_[reason];
        if (row.count == 0)
            continue;
        json& one = found[reason_name(reason)];
        one = {{"count", row.count}, {"mean_us", mean(row.took)},
            {"max_us", session_.microseconds(row.took.longest)}, {"for_parent", row.for_parent}};
        if (row.by_parent.count != 0) {
            one["parent_mean_us"] = mean(row.by_parent);
            one["parent_max_us"] = session_.microseconds(row.by_parent.longest);
        }
    }
    return {{"seconds", seconds}, {"lost", lost_}, {"reasons", found}};
}

} // namespace croft::cli
