// SPDX-License-Identifier: Apache-2.0
#include "cli/host.hpp"

#include "cli/host_statistics.hpp"
#include "cli/host_trace.hpp"
#include "cli/vm_command.hpp"

#include <cerrno>
#include <ctime>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>

namespace croft::cli {

namespace {

using nlohmann::json;

struct StatsWords {
    bool as_json = false;
    double interval = 1;
    unsigned count = 1;
};

// False if the user has ended it.
bool wait(double seconds) {
    timespec left{static_cast<std::time_t>(seconds), 0};
    left.tv_nsec = static_cast<long>((seconds - static_cast<double>(left.tv_sec)) * 1e9);
    while (!interrupted && nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
    return !interrupted;
}

// What a counter has come to between two readings; one that began anew counts from zero.
double difference(const Counters& before, const Counters& after, const std::string& name) {
    const auto later = after.find(name);
    if (later == after.end())
        return 0;
    const auto earlier = before.find(name);
    const std::uint64_t base = earlier == before.end() ? 0 : earlier->second;
    return static_cast<double>(later->second >= base ? later->second - base : later->second);
}

template <class Map>
const Counters& of(const Map& map, std::uint32_t number) {
    static const Counters none;
    const auto found = map.find(number);
    return found != map.end() ? found->second : none;
}

std::uint64_t count_of(const Counters& counters, const std::string& name) {
    const auto found = counters.find(name);
    return found != counters.end() ? found->second : 0;
}

double percent(double part, double whole) {
    return whole > 0 ? 100 * part / whole : 0;
}

json processors(const HostStatistics& before, const HostStatistics& after, double seconds) {
    json found = json::array();
    for (const auto& [index, now] : after.logical_processors) {
        const Counters& then = of(before.logical_processors, index);
        // Its own time: the counters of one that sleeps are of when it fell asleep.
        const double time = difference(then, now, "LpGlobalTime");
        double interrupts = 0;
        for (const char* const kind : {"LpHardwareInterrupts", "LpInterProcessorInterrupts",
                 "LpSchedulerInterrupts", "LpTimerInterrupts"})
            interrupts += difference(then, now, kind);
        found.push_back({{"index", index},
            {"busy_percent", percent(difference(then, now, "LpTotalRunTime"), time)},
            {"hypervisor_percent", percent(difference(then, now, "LpHypervisorRunTime"), time)},
            {"interrupts_per_second", interrupts / seconds},
            {"switches_per_second", difference(then, now, "LpContextSwitches") / seconds}});
    }
    return found;
}

json virtual_processor(
    std::uint32_t index, const Counters& then, const Counters& now, double seconds) {
    json exits = json::object();
    double all = 0;
    for (const ExitKind& kind : exit_kinds()) {
        const double rate = difference(then, now, kind.counter) / seconds;
        exits[kind.name] = rate;
        all += rate;
    }
    const double units = seconds * 1e7; // of 100 ns
    return {{"index", index},
        {"busy_percent", percent(difference(then, now, "VpTotalRunTime"), units)},
        {"waiting_percent", percent(difference(then, now, "VpWaitingForCpuTime"), units)},
        {"exits_per_second", all}, {"exits", exits}};
}

json partitions(const HostStatistics& before, const HostStatistics& after, double seconds) {
    json found = json::array();
    for (const auto& [id, now] : after.partitions) {
        const auto then = before.partitions.find(id);
        json processors = json::array();
        for (const auto& [index, counters] : now.virtual_processors) {
            static const std::map<std::uint32_t, Counters> none;
            const auto& earlier =
                then != before.partitions.end() ? then->second.virtual_processors : none;
            processors.push_back(virtual_processor(index, of(earlier, index), counters, seconds));
        }
        found.push_back({{"id", id}, {"root", id == 1},
            {"deposited_pages", count_of(now.counters, "PtDepositedPages")},
            {"mapped_4k", count_of(now.counters, "PtGpaPages4K")},
            {"mapped_2m", count_of(now.counters, "PtGpaPages2M")},
            {"virtual_processors", processors}});
    }
    return found;
}

json report(const HostStatistics& before, const HostStatistics& after) {
    const double seconds = std::chrono::duration<double>(after.time - before.time).count();
    return {{"seconds", seconds}, {"processors", processors(before, after, seconds)},
        {"partitions", partitions(before, after, seconds)}};
}

void print_processors(const json& all) {
    fmt::print("{:>9} {:>7} {:>11} {:>12} {:>10}\n", "PROCESSOR", "BUSY", "HYPERVISOR",
        "INTERRUPTS/s", "SWITCHES/s");
    for (const json& one : all)
        fmt::print("{:>9} {:>6.1f}% {:>10.1f}% {:>12.0f} {:>10.0f}\n",
            one.at("index").get<unsigned>(), one.at("busy_percent").get<double>(),
            one.at("hypervisor_percent").get<double>(),
            one.at("interrupts_per_second").get<double>(),
            one.at("switches_per_second").get<double>());
}

void print_partitions(const json& all) {
    fmt::print("{:>9} {:>4} {:>7} {:>8} {:>9} ", "PARTITION", "VP", "BUSY", "WAITING", "EXITS/s");
    for (const ExitKind& kind : exit_kinds())
        fmt::print(" {:>9}", kind.name);
    fmt::print("\n");
    for (const json& partition : all) {
        const std::string name =
            partition.at("root").get<bool>() ? "root" : partition.at("id").dump();
        for (const json& vp : partition.at("virtual_processors")) {
            fmt::print("{:>9} {:>4} {:>6.1f}% {:>7.1f}% {:>9.0f} ", name,
                vp.at("index").get<unsigned>(), vp.at("busy_percent").get<double>(),
                vp.at("waiting_percent").get<double>(), vp.at("exits_per_second").get<double>());
            for (const ExitKind& kind : exit_kinds())
                fmt::print(" {:>9.0f}", vp.at("exits").at(kind.name).get<double>());
            fmt::print("\n");
        }
    }
}

Exit stats(const StatsWords& words) {
    HostStatistics before = HostStatistics::read();
    for (unsigned done = 0; words.count == 0 || done < words.count; ++done) {
        if (!wait(words.interval))
            return Exit::interrupted;
        HostStatistics after = HostStatistics::read();
        const json found = report(before, after);
        if (words.as_json) {
            // A line each, if there are several.
            fmt::print("{}\n", words.count == 1 ? found.dump(2) : found.dump());
        } else {
            fmt::print("{}", done == 0 ? "" : "\n");
            print_processors(found.at("processors"));
            fmt::print("\n");
            print_partitions(found.at("partitions"));
        }
        std::fflush(stdout);
        before = std::move(after);
    }
    return Exit::success;
}

} // namespace

void add_host_commands(CLI::App& app, Exit& exit) {
    CLI::App& host = *app.add_subcommand("host", "This machine and its hypervisor");
    host.require_subcommand(1);
    const auto words = std::make_shared<StatsWords>();
    CLI::App* const command =
        host.add_subcommand("stats", "What processors and partitions do, and why they exit");
    command->add_flag("--json", words->as_json, "For programs");
    command->add_option("-i,--interval", words->interval, "Time that is measured (default: 1)")
        ->type_name("SECONDS")
        ->check(CLI::Range(0.01, 86400.0));
    command->add_option("-c,--count", words->count, "How often; 0: until stopped (default: 1)")
        ->type_name("N");
    command->callback([&exit, words] {
        try {
            exit = stats(*words);
        } catch (const HostError& error) {
            if (words->as_json)
                print_json({{"error", error.what()}});
            fmt::print(stderr, "croft host: {}\n", error.what());
            exit = Exit::failure;
        }
    });
    add_trace_command(host, exit);
}

} // namespace croft::cli
