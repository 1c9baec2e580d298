// SPDX-License-Identifier: Apache-2.0
#include "cli/trace_text.hpp"

#include "abi/hypercall.h"
#include "abi/types.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>

namespace croft::cli {

namespace {

using nlohmann::json;

struct Reason {
    const char* name;
    const char* also = ""; // the name that it shares with others
};

// By their numbers.
constexpr std::array<Reason, HV_EXIT_TRACE_REASONS> reasons{
    {{"interrupt"}, {"nmi", "other"}, {"window"}, {"cpuid"}, {"msr-read", "msr"},
        {"msr-write", "msr"}, {"port"}, {"halt"}, {"hypercall"}, {"memory"}, {"xcr0", "other"},
        {"caches", "other"}, {"undefined", "other"}, {"counter", "other"}, {"shutdown", "other"},
        {"invalid", "other"}, {"exception", "other"}, {"unexpected", "other"}}};

struct Hypercall {
    std::uint64_t code;
    const char* name;
};
constexpr Hypercall hypercalls[] = {
#include "cli/hypercall_names.inc"
};

std::string hypercall_name(std::uint64_t code) {
    const auto* const found = std::ranges::find(hypercalls, code, &Hypercall::code);
    return found != std::end(hypercalls) ? found->name : fmt::format("{:#06x}", code);
}

struct Port {
    explicit Port(const hv_exit_trace_record& record)
        : number(record.detail & 0xffff),
          size((record.detail >> 16) & 0xff),
          is_in((record.detail & HV_EXIT_TRACE_PORT_IN) != 0),
          is_string((record.detail & HV_EXIT_TRACE_PORT_STRING) != 0),
          has_rep((record.detail & HV_EXIT_TRACE_PORT_REP) != 0),
          value(size < 8 ? record.value & ((std::uint64_t{1} << (8 * size)) - 1) : record.value) {}

    std::uint64_t number;
    std::uint64_t size; // bytes
    bool is_in;
    bool is_string;
    bool has_rep;
    std::uint64_t value; // that goes out
};

std::uint64_t low(std::uint64_t word) {
    return word & 0xffffffff;
}
std::uint64_t high(std::uint64_t word) {
    return word >> 32;
}

const char* access_name(std::uint64_t value) {
    return (value & HV_EXIT_TRACE_MEMORY_EXECUTE) != 0 ? "execute"
        : (value & HV_EXIT_TRACE_MEMORY_WRITE) != 0    ? "write"
                                                       : "read";
}

std::string port_text(const Port& port) {
    const char* const prefix = port.has_rep ? "rep " : "";
    const char* const suffix = port.is_string ? "s" : "";
    const std::string access = fmt::format(
        "{}{}{} {:#x}, {}", prefix, port.is_in ? "in" : "out", suffix, port.number, port.size);
    return port.is_in || port.is_string ? access : fmt::format("{}: {:#x}", access, port.value);
}

std::uint64_t reps_of(std::uint64_t control) {
    return (control >> HV_HYPERCALL_REP_COUNT_SHIFT) & HV_HYPERCALL_REP_COUNT_MASK;
}

std::string hypercall_text(const hv_exit_trace_record& record) {
    const std::string name = hypercall_name(record.detail & HV_HYPERCALL_CODE_MASK);
    const std::string reps =
        reps_of(record.detail) != 0 ? fmt::format(", {} reps", reps_of(record.detail)) : "";
    return (record.detail & HV_HYPERCALL_FAST) != 0
        ? fmt::format("{}{}, fast: {:#x}", name, reps, record.value)
        : name + reps;
}

std::string detail_text(const hv_exit_trace_record& record) {
    switch (record.reason) {
    case HV_EXIT_TRACE_CPUID:
        return fmt::format("{:#x}, {:#x}", low(record.detail), high(record.detail));
    case HV_EXIT_TRACE_MSR_READ:
        return fmt::format("{:#x}", record.detail);
    case HV_EXIT_TRACE_MSR_WRITE:
        return fmt::format("{:#x}: {:#x}", record.detail, record.value);
    case HV_EXIT_TRACE_PORT:
        return port_text(Port(record));
    case HV_EXIT_TRACE_HYPERCALL:
        return hypercall_text(record);
    case HV_EXIT_TRACE_MEMORY:
        return fmt::format("{} {:#x}", access_name(record.value), record.detail);
    case HV_EXIT_TRACE_XCR0:
        return fmt::format("{:#x}", record.value);
    case HV_EXIT_TRACE_EXCEPTION:
        return fmt::format("vector {}, error {:#x}, address {:#x}", low(record.detail),
            high(record.detail), record.value);
    case HV_EXIT_TRACE_UNEXPECTED:
        return fmt::format("code {:#x}", record.code);
    default:
        return record.reason < HV_EXIT_TRACE_REASONS ? std::string{}
                                                     : fmt::format("reason {}", record.reason);
    }
}

json port_json(const Port& port) {
    json found = {{"port", port.number}, {"size", port.size}, {"access", port.is_in ? "in" : "out"},
        {"string", port.is_string}, {"rep", port.has_rep}};
    if (!port.is_in && !port.is_string)
        found["value"] = port.value;
    return found;
}

json detail_json(const hv_exit_trace_record& record) {
    switch (record.reason) {
    case HV_EXIT_TRACE_CPUID:
        return {{"leaf", low(record.detail)}, {"subleaf", high(record.detail)}};
    case HV_EXIT_TRACE_MSR_READ:
        return {{"msr", record.detail}};
    case HV_EXIT_TRACE_MSR_WRITE:
        return {{"msr", record.detail}, {"value", record.value}};
    case HV_EXIT_TRACE_PORT:
        return port_json(Port(record));
    case HV_EXIT_TRACE_HYPERCALL:
        return {{"call", record.detail & HV_HYPERCALL_CODE_MASK},
            {"name", hypercall_name(record.detail & HV_HYPERCALL_CODE_MASK)},
            {"fast", (record.detail & HV_HYPERCALL_FAST) != 0}, {"reps", reps_of(record.detail)},
            {"input", record.value}};
    case HV_EXIT_TRACE_MEMORY:
        return {{"gpa", record.detail}, {"access", access_name(record.value)}};
    case HV_EXIT_TRACE_XCR0:
        return {{"value", record.value}};
    case HV_EXIT_TRACE_EXCEPTION:
        return {{"vector", low(record.detail)}, {"error_code", high(record.detail)},
            {"address", record.value}};
    default:
        return json::object();
    }
}

// Nothing if it isn't known.
std::optional<double> duration(const TraceSession& session, std::uint32_t ticks) {
    if (ticks == HV_EXIT_TRACE_DURATION_UNKNOWN)
        return std::nullopt;
    return session.microseconds(ticks);
}

json duration_json(const TraceSession& session, std::uint32_t ticks) {
    const auto known = duration(session, ticks);
    return known ? json(*known) : json();
}

// Of the day, here.
std::string time_text(std::chrono::nanoseconds since_epoch) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
    const std::time_t time = seconds.count();
    std::tm parts{};
    localtime_r(&time, &parts);
    const auto rest =
        std::chrono::duration_cast<std::chrono::microseconds>(since_epoch - seconds).count();
    return fmt::format("{:02}:{:02}:{:02}.{:06}", parts.tm_hour, parts.tm_min, parts.tm_sec, rest);
}

} // namespace

const char* reason_name(std::uint8_t reason) {
    return reason < reasons.size() ? reasons[reason].name : "unexpected";
}

ReasonSet reasons_named(std::string_view name) {
    ReasonSet found;
    for (std::size_t i = 0; i < reasons.size(); ++i)
        found[i] = name == reasons[i].name || (name == reasons[i].also && !name.empty());
    return found;
}

std::vector<std::string> reason_names() {
    std::vector<std::string> names;
    for (const Reason& reason : reasons)
        for (const std::string name : {reason.name, reason.also})
            if (!name.empty() && std::ranges::find(names, name) == names.end())
                names.push_back(name);
    return names;
}

const char* outcome_name(std::uint8_t outcome) {
    switch (outcome) {
    case HV_EXIT_TRACE_SERVED:
        return "hypervisor";
    case HV_EXIT_TRACE_PARENT:
        return "parent";
    case HV_EXIT_TRACE_WAITS:
        return "waits";
    default:
        return "stopped";
    }
}

std::string trace_heading() {
    return fmt::format("{:15} {:>3} {:>9} {:>3} {:10} {:10} {:>9} {:>18}  {}", "TIME", "LP",
        "PARTITION", "VP", "REASON", "BY", "TOOK us", "RIP", "DETAILS");
}

std::string trace_line(const TraceSession& session, const TracedExit& exit) {
    const hv_exit_trace_record& record = exit.record;
    const std::string partition =
        record.partition_id == 1 ? "root" : std::to_string(record.partition_id);
    const auto took = duration(session, record.duration);
    std::string line = fmt::format("{:15} {:>3} {:>9} {:>3} {:10} {:10} {:>9} {:>18}  {}",
        time_text(session.since_epoch(record.time)), exit.lp, partition, record.vp_index,
        reason_name(record.reason), outcome_name(record.outcome),
        took ? fmt::format("{:.1f}", *took) : "-", fmt::format("{:#x}", record.rip),
        detail_text(record));
    line.erase(line.find_last_not_of(' ') + 1);
    return line;
}

json trace_json(const TraceSession& session, const TracedExit& exit) {
    const hv_exit_trace_record& record = exit.record;
    json found = {{"time", static_cast<double>(session.since_epoch(record.time).count()) / 1e9},
        {"lp", exit.lp}, {"sequence", record.sequence}, {"partition", record.partition_id},
        {"vp", record.vp_index}, {"reason", reason_name(record.reason)}, {"code", record.code},
        {"by", outcome_name(record.outcome)}, {"took_us", duration_json(session, record.duration)},
        {"in_guest_us", duration_json(session, record.guest_duration)}, {"rip", record.rip}};
    found.update(detail_json(record));
    return found;
}

} // namespace croft::cli
