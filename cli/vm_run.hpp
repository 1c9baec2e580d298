// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/output.hpp"

#include <CLI/CLI.hpp>

namespace croft::cli {

// Adds `vm run`.
void add_run_command(CLI::App& vm, Exit& exit);

} // namespace croft::cli
