// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/settings/settings.hpp"

#include <optional>
#include <span>
#include <string>

namespace croft::worker {

/// What the command line asks for: settings, or a text to print and end with.
struct CommandLine {
    Settings settings;
    std::optional<std::string> text;
};

/// Reads the program's arguments, without its name. Options go before what a settings file says.
/// Errors: SettingsError.
[[nodiscard]] CommandLine parse_command_line(std::span<const char* const> arguments);

} // namespace croft::worker
