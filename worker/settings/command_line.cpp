// SPDX-License-Identifier: Apache-2.0
#include "worker/settings/command_line.hpp"

#include "worker/error.hpp"
#include "worker/settings/drive_option.hpp"
#include "worker/settings/nic_option.hpp"
#include "worker/settings/share_option.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <utility>
#include <vector>

namespace croft::worker {

namespace {

/// The options as they were given.
struct Options {
    std::string settings_file;
    std::optional<std::string> kernel;
    std::optional<std::string> initial_ram_disk;
    std::optional<std::string> command_line;
    std::optional<std::string> memory;
    std::optional<std::string> processors;
    std::optional<std::string> weight;
    std::optional<std::string> cap;
    std::optional<std::string> reserve;
    std::optional<std::string> host_processors;
    std::optional<std::string> node;
    std::optional<std::string> console;
    std::vector<std::string> disks;
    std::vector<std::string> discs;
    std::vector<std::string> nics;
    std::optional<std::string> control;
    std::optional<std::string> name;
};

void describe(CLI::App& app, Options& options) {
    app.add_option("--kernel", options.kernel, "Linux bzImage, or ELF file with a PVH entry")
        ->type_name("FILE");
    app.add_option("--initrd", options.initial_ram_disk, "initial RAM disk")->type_name("FILE");
    app.add_option("--cmdline", options.command_line, "the kernel's command line")
        ->type_name("TEXT");
    app.add_option("--memory", options.memory, "memory, as 512M or 4G (512M)")->type_name("SIZE");
    app.add_option("--processors", options.processors, "virtual processors (1)")
        ->type_name("COUNT");
    app.add_option("--weight", options.weight, "share of the host, relative to other VMs (100)")
        ->type_name("WEIGHT");
    app.add_option("--cap", options.cap,
           "at most so much of a processor of the host for each virtual one (100)")
        ->type_name("PERCENT");
    app.add_option("--reserve", options.reserve,
           "at least so much of a processor of the host for each virtual one (0)")
        ->type_name("PERCENT");
    app.add_option("--host-processors", options.host_processors,
           "those of the host that it runs on, as 0-3,8 (all)")
        ->type_name("LIST");
    app.add_option("--node", options.node, "the NUMA node that it had better run on")
        ->type_name("NUMBER");
    app.add_option("--console", options.console,
           "where COM1 goes: stdio, none, a Unix socket to listen at, or a file to append to "
           "(stdio)")
        ->type_name("stdio|unix:SOCKET|FILE|none");
    app.add_option("--disk", options.disks,
           "a disk: a file or a block device, with its format and read-only after commas; again "
           "for more")
        ->type_name("FILE[,raw|vhd|vhdx][,read-only][,serial=TEXT]")
        ->allow_extra_args(false);
    app.add_option("--dvd", options.discs, "a DVD drive with a disc, or none")
        ->type_name("FILE|none")
        ->allow_extra_args(false);
    app.add_option("--nic", options.nics,
           "a network adapter plugged into a TAP device, which is made if there is none; again for "
           "more")
        ->type_name("tap=NAME[,bridge=NAME][,mac=ADDRESS][,mtu=BYTES][,queues=COUNT]"
                    "[,number=NUMBER][,process=worker|own]")
        ->allow_extra_args(false);
    app.add_option("--control", options.control, "Unix socket to control the VM by")
        ->type_name("SOCKET");
    app.add_option("--name", options.name, "the VM's name in messages (vm)")->type_name("NAME");
    app.add_option("--settings", options.settings_file,
           "JSON file with all settings; the other options go before it")
        ->type_name("FILE");
    app.set_version_flag("--version", "croft-worker " CROFT_VERSION);
    app.footer(
        "On a terminal, Ctrl-] followed by q ends the VM, by b presses its power button, by r "
        "resets it, by ? helps.");
}

void take(const std::optional<std::string>& option, std::string& setting) {
    if (option) {
        setting = *option;
    }
}

std::uint32_t number(const std::string& text, std::string_view option) {
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(parse_size(text, option), ~std::uint32_t{0}));
}

void apply_share(const Options& options, ProcessorSettings& processor) {
    if (options.weight) {
        processor.weight = number(*options.weight, "--weight");
    }
    if (options.cap) {
        processor.limit = parse_percent(*options.cap, "--cap");
    }
    if (options.reserve) {
        processor.reservation = parse_percent(*options.reserve, "--reserve");
    }
    if (options.host_processors) {
        processor.host_processors =
            parse_processor_list(*options.host_processors, "--host-processors");
    }
    if (options.node) {
        processor.node = number(*options.node, "--node");
    }
}

Settings apply(const Options& options) {
    Settings settings =
        options.settings_file.empty() ? Settings() : settings_from_file(options.settings_file);
    take(options.kernel, settings.boot.kernel);
    take(options.initial_ram_disk, settings.boot.initial_ram_disk);
    take(options.command_line, settings.boot.command_line);
    take(options.control, settings.control.socket);
    take(options.name, settings.name);
    if (!options.disks.empty() || !options.discs.empty()) {
        settings.drives.clear();
    }
    for (const std::string& text : options.disks) {
        settings.drives.push_back(parse_disk_option(text));
    }
    for (const std::string& text : options.discs) {
        settings.drives.push_back(parse_dvd_option(text));
    }
    if (!options.nics.empty()) {
        settings.nics.clear();
    }
    for (const std::string& text : options.nics) {
        settings.nics.push_back(parse_nic_option(text));
    }
    if (options.memory) {
        settings.memory.size = parse_size(*options.memory, "--memory");
    }
    if (options.processors) {
        settings.processor.count = number(*options.processors, "--processors");
    }
    apply_share(options, settings.processor);
    if (options.console) {
        if (settings.serial_ports.empty()) {
            settings.serial_ports.emplace_back();
        }
        settings.serial_ports.front().connection = *options.console;
    }
    check(settings);
    return settings;
}

} // namespace

CommandLine parse_command_line(std::span<const char* const> arguments) {
    CLI::App app("Runs one virtual machine on Undercroft.", "croft-worker");
    Options options;
    describe(app, options);
    // CLI11 takes them from the back.
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    try {
        app.parse(std::move(reversed));
    } catch (const CLI::CallForHelp&) {
        return {{}, app.help()};
    } catch (const CLI::CallForVersion& version) {
        return {{}, std::string(version.what()) + "\n"};
    } catch (const CLI::ParseError& error) {
        throw SettingsError(fmt::format("command line: {}; see croft-worker --help", error.what()));
    }
    return {apply(options), std::nullopt};
}

} // namespace croft::worker
