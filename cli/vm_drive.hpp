// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/output.hpp"

#include <CLI/CLI.hpp>

namespace croft::cli {

// Adds `vm drives` and the commands that change a running VM's drives.
void add_drive_commands(CLI::App& vm, Exit& exit);

} // namespace croft::cli
