// SPDX-License-Identifier: Apache-2.0
#include "cli/vm_run.hpp"

#include "cli/vm_boot.hpp"
#include "cli/vm_client.hpp"
#include "cli/vm_command.hpp"
#include "cli/vm_console.hpp"
#include "cli/vm_network.hpp"
#include "cli/vm_worker.hpp"
#include "worker/settings/drive_option.hpp"

#include <filesystem>
#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

namespace croft::cli {

namespace {

struct RunWords : VmWords {
    std::string disk;
    std::vector<std::string> disks, discs, nics;
    std::string kernel, initial_ram_disk;
    std::optional<std::string> command_line;
    std::string memory = "1G";
    std::optional<std::string> processors;
    // For the worker, as they are: what its settings call them, and what was given.
    std::map<std::string, std::optional<std::string>> share = {{"--weight", {}}, {"--cap", {}},
        {"--reserve", {}}, {"--host-processors", {}}, {"--node", {}}};
    bool detach = false;
};

// Where the VM's sockets and its log are.
std::filesystem::path make_folder() {
    std::filesystem::path folder = vm_directory();
    std::error_code error;
    if (std::filesystem::create_directories(folder, error))
        std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
    if (error)
        throw VmError(fmt::format("{}: {}; expected a folder for VMs: CROFT_VMS names another",
            folder.string(), error.message()));
    return folder;
}

void refuse_if_running(const std::string& name) {
    std::optional<VmClient> other;
    try {
        other.emplace(name);
    } catch (const VmError&) {
        return;
    }
    throw VmError(fmt::format(
        "{}: found a VM of that name running, expected none; give this one another --name", name));
}

class Run {
public:
    explicit Run(RunWords words) : words_{std::move(words)} {}

    Exit run() {
        const worker::DriveSettings disk = worker::parse_disk_option(words_.disk);
        if (words_.name.empty())
            words_.name = std::filesystem::path{disk.path}.stem();
        check_vm_name(words_.name);
        refuse_if_running(words_.name);
        const std::filesystem::path folder = make_folder();
        console_ = folder / (words_.name + ".console");
        std::optional<GuestBoot> found;
        if (words_.kernel.empty()) {
            found.emplace(GuestBoot::find(disk));
            words_.kernel = found->kernel();
            words_.initial_ram_disk = found->initial_ram_disk();
        }
        if (!words_.command_line)
            words_.command_line = found ? found->command_line() : default_command_line(disk);
        WorkerProcess process{words_.name, folder, arguments()};
        process.wait_until_running();
        found.reset();
        return words_.detach ? leave(process) : watch(process);
    }

private:
    std::vector<std::string> adapters() const {
        if (words_.nics == std::vector<std::string>{"none"})
            return {};
        if (!words_.nics.empty())
            return words_.nics;
        const auto adapter = default_adapter(words_.name);
        return adapter ? std::vector{*adapter} : std::vector<std::string>{};
    }

    std::vector<std::string> arguments() const {
        std::vector<std::string> result = {"--name", words_.name, "--memory", words_.memory,
            "--control", vm_socket(words_.name), "--console", "unix:" + console_.string(),
            "--kernel", words_.kernel, "--cmdline", *words_.command_line, "--disk", words_.disk};
        const auto add = [&result](const std::string& option, const std::string& value) {
            result.push_back(option);
            result.push_back(value);
        };
        if (words_.processors)
            add("--processors", *words_.processors);
        for (const auto& [option, value] : words_.share)
            if (value)
                add(option, *value);
        if (!words_.initial_ram_disk.empty())
            add("--initrd", words_.initial_ram_disk);
        for (const std::string& disk : words_.disks)
            add("--disk", disk);
        for (const std::string& disc : words_.discs)
            add("--dvd", disc);
        for (const std::string& nic : adapters())
            add("--nic", nic);
        return result;
    }

    Exit leave(const WorkerProcess& process) const {
        if (words_.as_json)
            print_json(
                {{"name", words_.name}, {"process", process.id()}, {"console", console_.string()},
                    {"control", vm_socket(words_.name).string()}, {"log", process.log().string()}});
        else
            fmt::print("{}\n", words_.name);
        return Exit::success;
    }

    Exit watch(WorkerProcess& process) const {
        switch (attach_console(words_.name, console_)) {
        case ConsoleEnd::detached:
            return Exit::success;
        case ConsoleEnd::stopped:
            return Exit::interrupted;
        case ConsoleEnd::ended:
            break;
        }
        const auto complaint = process.wait_for_end();
        return complaint ? tell(words_, *complaint, Exit::not_run) : Exit::success;
    }

    RunWords words_;
    std::filesystem::path console_;
};

Exit run(const RunWords& words) {
    try {
        return Run{words}.run();
    } catch (const VmError& error) {
        return tell(words, error.what(), Exit::not_run);
    }
}

} // namespace

void add_run_command(CLI::App& vm, Exit& exit) {
    const auto words = std::make_shared<RunWords>();
    CLI::App* const command = add_vm_command(vm, exit, "run",
        "Boot a VM from a disk, and be its console", words, [words] { return run(*words); });
    constexpr const char* disk_words = "FILE[,raw|vhd|vhdx][,read-only][,serial=TEXT]";
    command->add_option("DISK", words->disk, "The disk it boots from")
        ->type_name(disk_words)
        ->required();
    command->add_option("--name", words->name, "Of the VM (the disk's file name)")
        ->type_name("NAME");
    const auto add_list = [command](const char* name, std::vector<std::string>& list,
                              const char* about, const char* type) {
        command->add_option(name, list, about)->type_name(type)->allow_extra_args(false);
    };
    add_list("--disk", words->disks, "One more disk; again for more", disk_words);
    add_list("--dvd", words->discs, "A DVD drive with a disc, or none", "FILE|none");
    add_list("--nic", words->nics,
        "A network adapter, see croft-worker(1), or none (one on croft-network(8), if that is up)",
        "WORDS|none");
    command->add_option("--memory", words->memory, "As 512M or 4G (1G)")->type_name("SIZE");
    command->add_option("--processors", words->processors, "Virtual processors (1)")
        ->type_name("COUNT");
    const auto add_share = [&](const char* name, const char* about, const char* type) {
        command->add_option(name, words->share[name], about)->type_name(type);
    };
    add_share("--weight", "Share of the host, relative to other VMs (100)", "WEIGHT");
    add_share("--cap", "At most so much of a processor of the host for each virtual one (100)",
        "PERCENT");
    add_share("--reserve", "At least so much of a processor of the host for each virtual one (0)",
        "PERCENT");
    add_share("--host-processors", "Those of the host that it runs on, as 0-3,8 (all)", "LIST");
    add_share("--node", "The NUMA node that it had better run on", "NUMBER");
    CLI::Option* const kernel =
        command->add_option("--kernel", words->kernel, "Instead of what the disk has in /boot");
    kernel->type_name("FILE");
    command->add_option("--initrd", words->initial_ram_disk, "The initial RAM disk for it")
        ->type_name("FILE")
        ->needs(kernel);
    command->add_option("--cmdline", words->command_line, "The kernel's command line")
        ->type_name("TEXT");
    command->add_flag("-d,--detach", words->detach, "Return when it runs");
}

} // namespace croft::cli
