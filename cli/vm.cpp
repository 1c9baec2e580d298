// SPDX-License-Identifier: Apache-2.0
#include "cli/vm.hpp"

#include "cli/vm_client.hpp"
#include "cli/vm_command.hpp"
#include "cli/vm_console.hpp"
#include "cli/vm_drive.hpp"
#include "cli/vm_nic.hpp"
#include "cli/vm_run.hpp"

#include <cstdio>
#include <fmt/format.h>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace croft::cli {

namespace {

using nlohmann::json;

// What list and info say of a VM.
json describe(const std::string& name) {
    VmClient client{name};
    const json status = client.ask({{"command", "status"}});
    const json guest = client.ask({{"command", "guest"}});
    json found = {{"name", name}, {"state", status.at("state")},
        {"settings", status.value("settings", json::object())},
        {"heartbeat", guest.value("heartbeat", "no contact")},
        {"guest", guest.value("items", json::object())}};
    return found;
}

std::string setting_of(const json& vm, const json::json_pointer& place) {
    const json& settings = vm.at("settings");
    if (!settings.contains(place))
        return "-";
    const json& value = settings.at(place);
    return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string memory_of(const json& vm) {
    const json::json_pointer place{"/memory/size"};
    const json& settings = vm.at("settings");
    return settings.contains(place) && settings.at(place).is_number_unsigned()
        ? size_text(settings.at(place).get<std::uint64_t>())
        : "-";
}

std::string address_of(const json& vm) {
    const auto address = vm.at("guest").value("NetworkAddressIPv4", std::string{});
    return address.empty() ? "-" : address;
}

Exit list(const VmWords& words) {
    json found = json::array();
    for (const std::string& name : vm_names()) {
        try {
            found.push_back(describe(name));
        } catch (const VmError&) {
            // It has ended just now, or it was killed and its socket stayed.
        }
    }
    if (words.as_json) {
        print_json({{"vms", found}});
        return Exit::success;
    }
    if (found.empty()) {
        fmt::print("no VM is running\n");
        return Exit::success;
    }
    constexpr auto row = "{:<20} {:<8} {:>10} {:>9}  {:<18} {}\n";
    fmt::print(row, "NAME", "STATE", "PROCESSORS", "MEMORY", "HEARTBEAT", "ADDRESS");
    for (const json& vm : found) {
        fmt::print(row, vm.at("name").get<std::string>(), vm.at("state").get<std::string>(),
            setting_of(vm, json::json_pointer{"/processor/count"}), memory_of(vm),
            vm.at("heartbeat").get<std::string>(), address_of(vm));
    }
    return Exit::success;
}

Exit info(const VmWords& words) {
    json vm = describe(words.name);
    vm["statistics"] =
        VmClient{words.name}.ask({{"command", "statistics"}}).value("statistics", json::object());
    if (words.as_json) {
        print_json(vm);
        return Exit::success;
    }
    fmt::print(
        "name         {}\nstate        {}\nprocessors   {}\nmemory       {}\nheartbeat    {}\n",
        words.name, vm.at("state").get<std::string>(),
        setting_of(vm, json::json_pointer{"/processor/count"}), memory_of(vm),
        vm.at("heartbeat").get<std::string>());
    for (const auto& [key, value] : vm.at("guest").items())
        fmt::print("guest        {}: {}\n", key, value.get<std::string>());
    return Exit::success;
}

struct ShutdownWords {
    bool reboot = false;
    bool hibernate = false;
    bool force = false;
    std::string text;
    std::optional<double> wait;
};

Exit shut_down(const VmWords& words, const ShutdownWords& how) {
    VmClient client{words.name};
    const json answer = client.ask({{"command", "shutdown"},
        {"action",
            how.reboot          ? "reboot"
                : how.hibernate ? "hibernate"
                                : "power-off"},
        {"force", how.force}, {"text", how.text}});
    if (how.wait && !client.wait_for_end(static_cast<int>(*how.wait * 1000)))
        return tell(words,
            fmt::format("{}: found it running after {} s, expected that its guest shuts down; "
                        "'croft vm kill' ends it at once",
                words.name, *how.wait));
    if (words.as_json)
        print_json({{"name", words.name}, {"by", answer.value("by", "")}});
    return Exit::success;
}

// A command of the worker that needs no more than its name.
Exit ask_for(const VmWords& words, const char* command) {
    VmClient client{words.name};
    const json answer = client.ask({{"command", command}});
    if (words.as_json)
        print_json({{"name", words.name}, {"state", answer.value("state", "")}});
    return Exit::success;
}

void add_request(CLI::App& vm, Exit& exit) {
    const auto words = std::make_shared<VmWords>();
    const auto text = std::make_shared<std::string>();
    CLI::App* const command = add_vm_command(vm, exit, "request",
        "Send a VM's worker a request as it is, and show the answer", words, [words, text] {
            print_json(VmClient{words->name}.ask(json::parse(*text)));
            return Exit::success;
        });
    add_vm_name(command, *words);
    command->add_option("JSON", *text, "As {\"command\": \"devices\"}, see croft-worker(1)")
        ->required()
        ->check([](const std::string& word) {
            return json::parse(word, nullptr, false).is_object() ? std::string{}
                                                                 : "expected a JSON object";
        });
}

void add_shutdown(CLI::App& vm, Exit& exit) {
    const auto words = std::make_shared<VmWords>();
    const auto how = std::make_shared<ShutdownWords>();
    CLI::App* const command = add_vm_command(vm, exit, "shutdown", "Ask the guest to shut down",
        words, [words, how] { return shut_down(*words, *how); });
    add_vm_name(command, *words);
    CLI::Option* const reboot = command->add_flag("--reboot", how->reboot, "To start again");
    CLI::Option* const hibernate =
        command->add_flag("--hibernate", how->hibernate, "To keep its memory on its disk");
    CLI::Option* const wait = command->add_option(
        "--wait", how->wait, "Return when the VM has ended; an error if it takes longer");
    wait->type_name("SECONDS")->check(CLI::Range(0.0, 86400.0));
    command->add_flag("--force", how->force, "Even if programs in it object");
    command->add_option("--text", how->text, "For its users")->type_name("TEXT");
    reboot->excludes(hibernate)->excludes(wait);
}

} // namespace

void add_vm_commands(CLI::App& app, Exit& exit) {
    CLI::App& vm = *app.add_subcommand("vm", "Virtual machines that run on this host");
    vm.require_subcommand(1);
    {
        const auto words = std::make_shared<VmWords>();
        add_vm_command(
            vm, exit, "list", "The VMs that run", words, [words] { return list(*words); });
    }
    {
        const auto words = std::make_shared<VmWords>();
        add_vm_name(add_vm_command(vm, exit, "info", "A VM, and what its guest says of itself",
                        words, [words] { return info(*words); }),
            *words);
    }
    add_run_command(vm, exit);
    add_console_command(vm, exit);
    add_drive_commands(vm, exit);
    add_nic_commands(vm, exit);
    add_shutdown(vm, exit);
    add_request(vm, exit);
    const std::vector<std::pair<const char*, std::pair<const char*, const char*>>> plain = {
        {"kill", {"stop", "End a VM at once, as by pulling its plug"}},
        {"reset", {"reset", "Start a VM again at once, as by its reset button"}},
        {"pause", {"pause", "Stop a VM's processors and its time"}},
        {"resume", {"resume", "Let a paused VM go on"}},
    };
    for (const auto& [name, what] : plain) {
        const auto words = std::make_shared<VmWords>();
        add_vm_name(add_vm_command(vm, exit, name, what.second, words,
                        [words, asked = what.first] { return ask_for(*words, asked); }),
            *words);
    }
}

} // namespace croft::cli
