// SPDX-License-Identifier: Apache-2.0
#include "cli/host_statistics.hpp"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <optional>
#include <string_view>
#include <system_error>

namespace croft::cli {

namespace {

namespace fs = std::filesystem;

// "Name          : 123", a line each; what isn't so is passed over.
Counters parse(std::istream& text) {
    Counters found;
    for (std::string line; std::getline(text, line);) {
        const std::string_view view{line};
        const auto colon = view.find(':');
        const auto name_end = view.find_first_of(" :");
        const auto digits =
            colon == std::string_view::npos ? colon : view.find_first_not_of(' ', colon + 1);
        if (digits == std::string_view::npos || name_end == 0)
            continue;
        std::uint64_t value = 0;
        const auto [end, error] =
            std::from_chars(view.data() + digits, view.data() + view.size(), value);
        if (error == std::errc{})
            found[std::string{view.substr(0, name_end)}] = value;
    }
    return found;
}

// Of an object's folder; nothing if the object has gone.
std::optional<Counters> counters_in(const fs::path& folder) {
    errno = 0;
    std::ifstream file{folder / "stats"};
    if (!file)
        return std::nullopt;
    return parse(file);
}

// Calls `found(number, folder)` for each folder in `home` whose name is a number.
template <class Found>
void each_number(const fs::path& home, Found&& found) {
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator{home, error}) {
        const std::string name = entry.path().filename().string();
        std::uint64_t number = 0;
        const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), number);
        if (bad == std::errc{} && end == name.data() + name.size())
            found(number, entry.path());
    }
}

std::map<std::uint32_t, Counters> all_in(const fs::path& home) {
    std::map<std::uint32_t, Counters> all;
    each_number(home, [&](std::uint64_t number, const fs::path& folder) {
        if (auto counters = counters_in(folder))
            all[static_cast<std::uint32_t>(number)] = *std::move(counters);
    });
    return all;
}

} // namespace

fs::path statistics_directory() {
    const char* const chosen = std::getenv("CROFT_STATISTICS");
    return chosen != nullptr ? chosen : "/sys/kernel/debug/mshv";
}

const std::vector<ExitKind>& exit_kinds() {
    static const std::vector<ExitKind> kinds = {
        {"hypercall", "VpHypercallsCount"},
        {"port", "VpIoInstructionsCount"},
        {"memory", "VpNestedPageFaultInterceptsCount"},
        {"msr", "VpMsrAccessesCount"},
        {"cpuid", "VpCpuidInstructionsCount"},
        {"halt", "VpHltInstructionsCount"},
        {"interrupt", "VpExternalInterruptsCount"},
        {"window", "VpPendingInterruptsCount"},
        {"other", "VpOtherInterceptsCount"},
    };
    return kinds;
}

HostStatistics HostStatistics::read() {
    const fs::path home = statistics_directory();
    HostStatistics result;
    result.time = std::chrono::steady_clock::now();
    auto hypervisor = counters_in(home);
    if (!hypervisor)
        throw HostError(fmt::format("{}: {}; expected the hypervisor's statistics, which the root "
                                    "partition of Undercroft has: run it there, as root, with a "
                                    "debug file system mounted at /sys/kernel/debug",
            (home / "stats").string(), std::strerror(errno)));
    result.hypervisor = *std::move(hypervisor);
    result.logical_processors = all_in(home / "lp");
    each_number(home / "partition", [&](std::uint64_t id, const fs::path& folder) {
        if (auto counters = counters_in(folder))
            result.partitions[id] = {*std::move(counters), all_in(folder / "vp")};
    });
    return result;
}

} // namespace croft::cli
