// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/output.hpp"

#include <CLI/CLI.hpp>

namespace croft::cli {

// Adds `disk` and its sub-commands. Whichever is chosen stores its outcome in `exit`.
void add_disk_commands(CLI::App& app, Exit& exit);

// What --json answers where the command line is wrong.
void print_usage_error(const std::string& what);

} // namespace croft::cli
