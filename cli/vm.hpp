// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/output.hpp"

#include <CLI/CLI.hpp>

namespace croft::cli {

// Adds `vm` and its sub-commands. Whichever is chosen stores its outcome in `exit`.
void add_vm_commands(CLI::App& app, Exit& exit);

} // namespace croft::cli
