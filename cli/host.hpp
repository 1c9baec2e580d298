// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/output.hpp"

#include <CLI/CLI.hpp>

namespace croft::cli {

// croft host: what is about the machine and its hypervisor.
void add_host_commands(CLI::App& app, Exit& exit);

} // namespace croft::cli
