// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/output.hpp"

#include <CLI/CLI.hpp>
#include <string>

namespace croft::cli {

// Why somebody no longer sees a VM's console.
enum class ConsoleEnd {
    detached, // by the key, or nobody reads what it shows
    ended,    // the VM has closed it
    stopped,  // by a signal
};

// Makes this terminal, or standard input and output, the VM's console until one of these. The end
// of standard input is none of them. Errors: VmError if nobody listens at the socket.
ConsoleEnd attach_console(const std::string& name, const std::string& socket);

// Adds `vm console`.
void add_console_command(CLI::App& vm, Exit& exit);

} // namespace croft::cli
