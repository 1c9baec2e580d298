// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/output.hpp"

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace croft::cli {

// What every sub-command of `croft vm` has.
struct VmWords {
    bool as_json = false;
    std::string name;
};

void print_json(const nlohmann::json& value);

// Something to know that is no error.
void note(const std::string& what);

// An error, in JSON too; answers the status to end with: `failure`, unless the user has stopped it.
Exit tell(const VmWords& words, const std::string& what, Exit failure = Exit::failure);

// Adds a sub-command; `run` is called when it was chosen, and may throw VmError.
CLI::App* add_vm_command(CLI::App& vm, Exit& exit, const std::string& name,
    const std::string& about, const std::shared_ptr<VmWords>& words,
    const std::function<Exit()>& run);

// The VM that a sub-command is about.
void add_vm_name(CLI::App* command, VmWords& words);

} // namespace croft::cli
