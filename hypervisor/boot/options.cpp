// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/boot/options.hpp"

namespace hypervisor {

namespace {

bool apply(BootOptions& options, std::string_view word) {
    const auto equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view{} : word.substr(equals + 1);
    if (name == "loglevel" && value.size() == 1 && value[0] >= '1' && value[0] <= '5') {
        options.log_level = static_cast<LogLevel>(value[0] - '0');
        return true;
    }
    if (name == "console" && (value == "com1" || value == "com2" || value == "none")) {
        options.console_port = value == "com1" ? 0x3f8 : value == "com2" ? 0x2f8 : 0;
        return true;
    }
    if (name == "scheduler" && (value == "classic" || value == "root")) {
        options.root_schedules = value == "root";
        return true;
    }
    return false;
}

} // namespace

BootOptions parse_options(std::string_view command_line) {
    BootOptions options;
    while (!command_line.empty()) {
        const auto blank = command_line.find(' ');
        const std::string_view word = command_line.substr(0, blank);
        if (!word.empty() && !apply(options, word) && options.unknown.empty()) {
            options.unknown = word;
        }
        command_line.remove_prefix(
            blank == std::string_view::npos ? command_line.size() : blank + 1);
    }
    return options;
}

} // namespace hypervisor
