// SPDX-License-Identifier: Apache-2.0
#include "cli/disk.hpp"
#include "cli/host.hpp"
#include "cli/vm.hpp"

#include <algorithm>
#include <span>
#include <string_view>

int main(int argc, char** argv) {
    using croft::cli::Exit;
    Exit exit = Exit::success;
    CLI::App app{"The command line of Undercroft.", "croft"};
    app.require_subcommand(1);
    croft::cli::add_disk_commands(app, exit);
    croft::cli::add_host_commands(app, exit);
    croft::cli::add_vm_commands(app, exit);
    croft::cli::watch_signals();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (app.exit(error) == 0)
            return 0;
        const std::span words{argv, static_cast<std::size_t>(argc)};
        if (std::ranges::find(words, std::string_view{"--json"}) != words.end())
            croft::cli::print_usage_error(error.what());
        return static_cast<int>(Exit::usage);
    }
    return static_cast<int>(exit);
}
