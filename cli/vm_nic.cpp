// SPDX-License-Identifier: Apache-2.0
#include "cli/vm_nic.hpp"

#include "cli/vm_client.hpp"
#include "cli/vm_command.hpp"
#include "cli/vm_network.hpp"
#include "worker/settings/nic_option.hpp"

#include <algorithm>
#include <cstdint>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace croft::cli {

namespace {

using nlohmann::json;
using worker::NicSettings;

struct NicWords : VmWords {
    std::string adapter;
    std::string link;
    std::uint32_t number = 0;
};

Exit list_nics(const NicWords& words) {
    const json nics = VmClient{words.name}.ask({{"command", "nics"}}).at("nics");
    if (words.as_json) {
        print_json({{"nics", nics}});
        return Exit::success;
    }
    constexpr auto row = "{:>6}  {:<17}  {:<4}  {:<15}  {:>6}  {}\n";
    fmt::print(row, "NUMBER", "ADDRESS", "LINK", "DEVICE", "QUEUES", "BRIDGE");
    for (const json& nic : nics) {
        const auto bridge = nic.value("bridge", std::string{});
        fmt::print(row, nic.value("number", 0U), nic.value("mac", ""),
            nic.value("connected", true) ? "up" : "down", nic.value("tap", ""),
            nic.value("queues", 0U), bridge.empty() ? "-" : bridge);
    }
    return Exit::success;
}

// On the host's ready-made network, with the lowest number that is free.
std::string ready_made(VmClient& client, const std::string& vm) {
    const json nics = client.ask({{"command", "nics"}}).at("nics");
    std::uint32_t number = 0;
    while (std::ranges::any_of(
        nics, [&](const json& nic) { return nic.value("number", 0U) == number; }))
        ++number;
    const auto adapter = default_adapter(vm, number);
    if (!adapter)
        throw VmError("network: found none that croft-network has made, expected one to be plugged "
                      "into; start it, or name a device as tap=NAME,bridge=NAME");
    return fmt::format("{},number={}", *adapter, number);
}

Exit attach_nic(const NicWords& words) {
    VmClient client{words.name};
    const NicSettings nic = worker::parse_nic_option(
        words.adapter.empty() ? ready_made(client, words.name) : words.adapter);
    const json answer = client.ask({{"command", "add-nic"}, {"nic", worker::to_json(nic)}});
    if (words.as_json)
        print_json({{"name", words.name}, {"number", answer.at("number")}});
    else
        fmt::print("number {}\n", answer.at("number").get<std::uint32_t>());
    return Exit::success;
}

// What says nothing when it is done.
Exit change(const NicWords& words, const json& request) {
    VmClient{words.name}.ask(request);
    if (words.as_json)
        print_json({{"name", words.name}, {"number", words.number}});
    return Exit::success;
}

} // namespace

void add_nic_commands(CLI::App& vm, Exit& exit) {
    // A sub-command about a VM, with words of its own.
    const auto add = [&](const char* name, const char* about, Exit (*run)(const NicWords&)) {
        const auto words = std::make_shared<NicWords>();
        CLI::App* const command =
            add_vm_command(vm, exit, name, about, words, [words, run] { return run(*words); });
        add_vm_name(command, *words);
        return std::pair{command, words};
    };
    const auto add_number = [](CLI::App* command, NicWords& words) {
        command->add_option("NUMBER", words.number, "The adapter, as 'croft vm nics' lists it")
            ->required()
            ->check(CLI::Range(0U, NicSettings::most - 1));
    };
    add("nics", "A VM's network adapters", list_nics);
    {
        const auto [command, words] =
            add("attach-nic", "Add a network adapter while the VM runs", attach_nic);
        command->add_option("WORDS", words->adapter,
            "As run takes one, see croft-worker(1); one on croft-network(8) if there are none");
    }
    {
        const auto [command, words] =
            add("detach-nic", "Take a network adapter away", [](const NicWords& some) {
                return change(some, {{"command", "remove-nic"}, {"number", some.number}});
            });
        add_number(command, *words);
    }
    {
        const auto [command, words] =
            add("link", "Plug a network adapter's cable in or out", [](const NicWords& some) {
                return change(some,
                    {{"command", "link"}, {"number", some.number}, {"up", some.link == "up"}});
            });
        add_number(command, *words);
        command->add_option("STATE", words->link, "up or down")
            ->required()
            ->check(CLI::IsMember({"up", "down"}));
    }
}

} // namespace croft::cli
