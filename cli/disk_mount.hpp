// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/output.hpp"

#include <CLI/CLI.hpp>

namespace croft::cli {

// Adds `mount` and `umount` to the sub-commands of `croft disk`.
void add_mount_commands(CLI::App& app, Exit& exit);

} // namespace croft::cli
