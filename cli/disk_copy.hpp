// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/output.hpp"

#include <CLI/CLI.hpp>

namespace croft::cli {

// Adds `cp` to the sub-commands of `croft disk`.
void add_copy_command(CLI::App& app, Exit& exit);

} // namespace croft::cli
