// SPDX-License-Identifier: Apache-2.0
#include "cli/disk.hpp"

int main(int argc, char** argv) {
    using croft::cli::Exit;
    Exit exit = Exit::success;
    CLI::App app{"The command line of Undercroft.", "croft"};
    app.require_subcommand(1);
    croft::cli::add_disk_commands(app, exit);
    croft::cli::watch_signals();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::usage);
    }
    return static_cast<int>(exit);
}
