// SPDX-License-Identifier: Apache-2.0
#include "cli/disk_command.hpp"

#include "cli/disk_report.hpp"
#include "disk/tool/create.hpp"

#include <fmt/format.h>

namespace croft::cli {

using nlohmann::json;

std::optional<disk::Format> Common::opened_as() const {
    return format.empty() ? std::nullopt : disk::tool::format_of_word(format);
}

disk::tool::Progress Common::progress() const {
    auto line = std::make_shared<ProgressLine>(!quiet && !as_json);
    return [line](std::uint64_t done, std::uint64_t total) {
        return line->update(done, total);
    };
}

void Common::print(const json& object, std::string_view text) const {
    if (as_json)
        fmt::print("{}\n", object.dump(2, ' ', false, json::error_handler_t::replace));
    else if (!quiet)
        fmt::print("{}", text);
}

Exit Common::tell_people(const disk::Error& error) const {
    std::fflush(stdout); // where both go to one file, in this order
    fmt::print(stderr, "croft disk: {}\n", error.text());
    return error.code == disk::ErrorCode::interrupted ? Exit::interrupted : Exit::failure;
}

void Common::note(std::string_view text) const {
    if (!quiet)
        fmt::print(stderr, "croft disk: {}\n", text);
}

Exit Common::tell(const disk::Error& error) const {
    if (as_json)
        fmt::print("{}\n",
            json{{"error", json_of(error)}}.dump(2, ' ', false, json::error_handler_t::replace));
    return tell_people(error);
}

CLI::Validator format_words() {
    return {[](std::string& text) {
                return disk::tool::format_of_word(text)
                    ? std::string{}
                    : "found '" + text + "', expected raw, vhd, vhdx or iso";
            },
        "FORMAT"};
}

void add_format_option(CLI::App& command, Common& common) {
    command.add_option("-f,--format", common.format, "Instead of looking into the file")
        ->check(format_words());
}

CLI::App* add_command(CLI::App& app, Exit& exit, const std::string& name, const std::string& about,
    const std::shared_ptr<Common>& common, std::function<Outcome()> run) {
    CLI::App* command = app.add_subcommand(name, about);
    command->add_flag("--json", common->as_json, "Answer in JSON");
    command->add_flag("-q,--quiet", common->quiet, "Say nothing but errors");
    command->callback([&exit, common, run = std::move(run)] {
        Outcome outcome = run();
        exit = outcome ? *outcome : common->tell(outcome.error());
    });
    return command;
}

} // namespace croft::cli
