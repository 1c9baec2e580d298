// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/output.hpp"
#include "disk/error.hpp"
#include "disk/image.hpp"
#include "disk/tool/progress.hpp"

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

namespace croft::cli {

// What a sub-command of `croft disk` answers: its exit status, or the error to tell.
using Outcome = disk::Result<Exit>;

// Options that every one has.
struct Common {
    bool as_json = false;
    bool quiet = false;
    std::string format; // of the disk, if the command line tells it

    std::optional<disk::Format> opened_as() const;
    disk::tool::Progress progress() const;
    // Prints an object, or the line that says the same to people.
    void print(const nlohmann::json& object, std::string_view text) const;
    // An error, in JSON too; answers the status to end with.
    Exit tell(const disk::Error& error) const;
    // The line that an error is to people; answers the status to end with.
    Exit tell_people(const disk::Error& error) const;
    // Something to know that is no error.
    void note(std::string_view text) const;
};

// "raw", "vhd", "vhdx" or "iso".
CLI::Validator format_words();

// How a command that opens a disk is told what that is.
void add_format_option(CLI::App& command, Common& common);

// Adds a sub-command with the common options; `run` is called when it was chosen.
CLI::App* add_command(CLI::App& app, Exit& exit, const std::string& name, const std::string& about,
    const std::shared_ptr<Common>& common, std::function<Outcome()> run);

} // namespace croft::cli
