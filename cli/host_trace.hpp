// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/output.hpp"

#include <CLI/CLI.hpp>

namespace croft::cli {

// croft host trace: exits of virtual processors as they come.
void add_trace_command(CLI::App& host, Exit& exit);

// "10s", "500ms", "2m", "1h", or seconds without a unit, which are more than none. False if it is
// none of these.
bool parse_duration(const std::string& text, double& seconds);

} // namespace croft::cli
