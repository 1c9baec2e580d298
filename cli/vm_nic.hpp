// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/output.hpp"

#include <CLI/CLI.hpp>

namespace croft::cli {

// Adds `vm nics` and the commands that change a running VM's network adapters.
void add_nic_commands(CLI::App& vm, Exit& exit);

} // namespace croft::cli
