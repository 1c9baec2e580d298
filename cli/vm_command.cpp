// SPDX-License-Identifier: Apache-2.0
#include "cli/vm_command.hpp"

#include "cli/vm_client.hpp"

#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace croft::cli {

using nlohmann::json;

void print_json(const json& value) {
    fmt::print("{}\n", value.dump(2, ' ', false, json::error_handler_t::replace));
}

void note(const std::string& what) {
    std::fflush(stdout);
    fmt::print(stderr, "croft vm: {}\n", what);
}

Exit tell(const VmWords& words, const std::string& what, Exit failure) {
    if (words.as_json)
        print_json({{"error", what}});
    note(what);
    return interrupted ? Exit::interrupted : failure;
}

CLI::App* add_vm_command(CLI::App& vm, Exit& exit, const std::string& name,
    const std::string& about, const std::shared_ptr<VmWords>& words,
    const std::function<Exit()>& run) {
    CLI::App* const command = vm.add_subcommand(name, about);
    command->add_flag("--json", words->as_json, "For programs");
    command->callback([&exit, words, run] {
        try {
            exit = run();
        } catch (const VmError& error) {
            exit = tell(*words, error.what());
        }
    });
    return command;
}

void add_vm_name(CLI::App* command, VmWords& words) {
    command->add_option("NAME", words.name, "The VM")->required();
}

} // namespace croft::cli
