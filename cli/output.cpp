// SPDX-License-Identifier: Apache-2.0
#include "cli/output.hpp"

#include <charconv>
#include <cmath>
#include <csignal>
#include <fmt/format.h>
#include <unistd.h>

namespace croft::cli {

std::atomic<bool> interrupted{false};

void watch_signals() {
    struct sigaction action {};
    action.sa_handler = [](int) {
        interrupted = true;
    };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

bool parse_size(std::string_view text, std::uint64_t& bytes) {
    constexpr std::string_view units = "BKMGTPE";
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || number < 0)
        return false;
    std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
    double factor = 1;
    if (!unit.empty()) {
        const char letter =
            unit[0] >= 'a' && unit[0] <= 'z' ? static_cast<char>(unit[0] - 32) : unit[0];
        const auto power = units.find(letter);
        if (power == std::string_view::npos)
            return false;
        factor = std::pow(1024.0, static_cast<double>(power));
        unit.remove_prefix(1);
        if (!unit.empty() && unit != "B" && unit != "iB" && unit != "b")
            return false;
    }
    const double value = number * factor;
    if (value >= 18446744073709551615.0 || std::floor(value) != value)
        return false;
    bytes = static_cast<std::uint64_t>(value);
    return true;
}

std::string size_text(std::uint64_t bytes) {
    constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < std::size(units)) {
        value /= 1024;
        ++unit;
    }
    return std::floor(value) == value ? fmt::format("{:.0f} {}", value, units[unit])
                                      : fmt::format("{:.1f} {}", value, units[unit]);
}

ProgressLine::ProgressLine(bool wanted) : shown_{wanted && isatty(STDERR_FILENO) != 0} {}

ProgressLine::~ProgressLine() {
    if (any_)
        fmt::print(stderr, "\r\x1b[K");
}

bool ProgressLine::update(std::uint64_t done, std::uint64_t total) {
    if (shown_) {
        const std::lock_guard lock{mutex_};
        const auto now = Clock::now();
        if (now >= next_) {
            next_ = now + std::chrono::milliseconds{100};
            const double seconds = std::chrono::duration<double>(now - start_).count();
            const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
            fmt::print(stderr, "\r\x1b[K{:5.1f} %  {} of {}  {}/s",
                total != 0 ? 100.0 * static_cast<double>(done) / static_cast<double>(total) : 100.0,
                size_text(done), size_text(total), size_text(static_cast<std::uint64_t>(rate)));
            std::fflush(stderr);
            any_ = true;
        }
    }
    return !interrupted;
}

} // namespace croft::cli
