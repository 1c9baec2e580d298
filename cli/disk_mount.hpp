// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/output.hpp"

#include <CLI/CLI.hpp>

namespace croft::cli {

// Adds `mount`, `umount` and `cp` to the sub-commands of `croft disk`.
void add_mount_commands(CLI::App& app, Exit& exit);

} // namespace croft::cli
