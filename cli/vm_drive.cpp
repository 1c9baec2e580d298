// SPDX-License-Identifier: Apache-2.0
#include "cli/vm_drive.hpp"

#include "cli/vm_client.hpp"
#include "cli/vm_command.hpp"
#include "worker/settings/drive_option.hpp"

#include <cstdint>
#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace croft::cli {

namespace {

using nlohmann::json;
using worker::DriveSettings;

struct DriveWords : VmWords {
    std::string file;
    std::string size;
    std::uint32_t lun = 0;
    std::optional<std::uint32_t> wanted_lun;
    bool dvd = false;
};

// The worker has a folder of its own.
void make_absolute(std::string& path) {
    if (!path.empty())
        path = std::filesystem::absolute(path);
}

Exit list_drives(const DriveWords& words) {
    const json drives = VmClient{words.name}.ask({{"command", "drives"}}).at("drives");
    if (words.as_json) {
        print_json({{"drives", drives}});
        return Exit::success;
    }
    constexpr auto row = "{:>3}  {:<4} {:<6} {:>10}  {:<9} {}\n";
    fmt::print(row, "LUN", "TYPE", "FORMAT", "SIZE", "ACCESS", "FILE");
    for (const json& drive : drives) {
        const auto path = drive.value("path", std::string{});
        const auto format = drive.value("format", std::string{});
        fmt::print(row, drive.value("lun", 0U), drive.value("type", ""),
            format.empty() || path.empty() ? "-" : format,
            path.empty() ? "-" : size_text(drive.value("size", std::uint64_t{0})),
            drive.value("read_only", false) ? "read-only" : "write", path.empty() ? "-" : path);
    }
    return Exit::success;
}

Exit attach_disk(const DriveWords& words) {
    DriveSettings drive =
        words.dvd ? worker::parse_dvd_option(words.file) : worker::parse_disk_option(words.file);
    drive.lun = words.wanted_lun;
    make_absolute(drive.path);
    const json answer =
        VmClient{words.name}.ask({{"command", "add-drive"}, {"drive", worker::to_json(drive)}});
    if (words.as_json)
        print_json({{"name", words.name}, {"lun", answer.at("lun")}});
    else
        fmt::print("LUN {}\n", answer.at("lun").get<std::uint32_t>());
    return Exit::success;
}

// What says nothing when it is done.
Exit change(const DriveWords& words, const json& request) {
    VmClient{words.name}.ask(request);
    if (words.as_json)
        print_json({{"name", words.name}, {"lun", words.lun}});
    return Exit::success;
}

Exit insert_disc(const DriveWords& words) {
    std::string path = words.file;
    make_absolute(path);
    return change(words, {{"command", "change-disc"}, {"lun", words.lun}, {"path", path}});
}

void add_lun(CLI::App* command, DriveWords& words) {
    command->add_option("LUN", words.lun, "The drive, as 'croft vm drives' lists it")
        ->required()
        ->check(CLI::Range(0U, DriveSettings::most - 1));
}

} // namespace

void add_drive_commands(CLI::App& vm, Exit& exit) {
    // A sub-command about a VM, with words of its own.
    const auto add = [&](const char* name, const char* about, Exit (*run)(const DriveWords&)) {
        const auto words = std::make_shared<DriveWords>();
        CLI::App* const command =
            add_vm_command(vm, exit, name, about, words, [words, run] { return run(*words); });
        add_vm_name(command, *words);
        return std::pair{command, words};
    };
    add("drives", "A VM's disks and DVD drives", list_drives);
    {
        const auto [command, words] =
            add("attach-disk", "Add a disk, or a DVD drive, while the VM runs", attach_disk);
        command
            ->add_option(
                "FILE", words->file, "As run takes a disk; with --dvd an ISO image, or none")
            ->required();
        command->add_flag("--dvd", words->dvd, "A DVD drive with this disc");
        command->add_option("--lun", words->wanted_lun, "Its LUN; the lowest free one if not given")
            ->type_name("LUN")
            ->check(CLI::Range(0U, DriveSettings::most - 1));
    }
    {
        const auto [command, words] =
            add("detach-disk", "Take a drive away; returns when its file is no longer in use",
                [](const DriveWords& some) {
                    return change(some, {{"command", "remove-drive"}, {"lun", some.lun}});
                });
        add_lun(command, *words);
    }
    {
        const auto [command, words] =
            add("resize-disk", "Make a disk larger while the VM runs", [](const DriveWords& some) {
                json request = {{"command", "resize-drive"}, {"lun", some.lun}};
                if (!some.size.empty())
                    request["size"] = some.size;
                return change(some, request);
            });
        add_lun(command, *words);
        command->add_option(
            "SIZE", words->size, "As 20G; without it, what the device or raw file has by now");
    }
    {
        const auto [command, words] =
            add("insert-disc", "Put a disc into a DVD drive, in the place of another", insert_disc);
        add_lun(command, *words);
        command->add_option("FILE", words->file, "An ISO image")->required();
    }
    {
        const auto [command, words] =
            add("eject-disc", "Take the disc out of a DVD drive", insert_disc);
        add_lun(command, *words);
    }
}

} // namespace croft::cli
