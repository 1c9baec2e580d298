// SPDX-License-Identifier: Apache-2.0
#include "worker/control/machine_control.hpp"

#include "worker/control/drive_control.hpp"
#include "worker/control/nic_control.hpp"
#include "worker/error.hpp"
#include "worker/machine/input_file.hpp"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ranges>
#include <utility>

namespace croft::worker {

using nlohmann::json;

namespace {
constexpr auto urgent_command = "stop";
constexpr std::uint64_t largest_state = 64 * mebibyte;

using Shutdown = IntegrationComponents::Shutdown;

Shutdown::Action action_of(const json& request) {
    const auto name = request.value("action", "power-off");
    if (name == "power-off") {
        return Shutdown::Action::power_off;
    }
    if (name == "reboot") {
        return Shutdown::Action::reboot;
    }
    if (name == "hibernate") {
        return Shutdown::Action::hibernate;
    }
    throw SettingsError(fmt::format("request: found action \"{}\", expected power-off, reboot or "
                                    "hibernate; send one of them",
        name));
}

std::string_view name_of(IntegrationComponents::Heartbeat::State state) {
    switch (state) {
    case IntegrationComponents::Heartbeat::State::no_contact:
        return "no contact";
    case IntegrationComponents::Heartbeat::State::ok:
        return "ok";
    case IntegrationComponents::Heartbeat::State::lost_communication:
        break;
    }
    return "lost communication";
}

/// A guest without the driver, or with one that doesn't answer, has a power button at least.
std::string_view shut_down(Machine& machine, const json& request) {
    const Shutdown::Action action = action_of(request);
    const auto text = request.value("text", std::string());
    const Shutdown::Asked asked = machine.integration().request(
        {.action = action, .forced = request.value("force", false), .text = text});
    if (asked == Shutdown::Asked::yes) {
        return "integration services";
    }
    if (action != Shutdown::Action::power_off) {
        throw SettingsError(asked == Shutdown::Asked::unanswered
                ? "request: found the guest with a request that it hasn't answered yet, expected "
                  "its "
                  "integration services (hv_utils) to answer; send reset instead"
                : "request: found no driver in the guest for this, expected its integration "
                  "services "
                  "(hv_utils) to run; send reset instead");
    }
    machine.press_power_button();
    return "power button";
}

json status(Machine& machine, const Settings& settings) {
    json now = to_json(settings);
    now["drives"] = list_drives(machine.storage());
    now["nics"] = list_nics(machine.network());
    return {{"name", settings.name}, {"settings", std::move(now)}};
}

json guest(Machine& machine) {
    const IntegrationComponents::Guest guest = machine.integration().guest();
    json items = json::object();
    for (const auto& [name, value] : guest.items) {
        items[name] = value;
    }
    return {{"heartbeat", name_of(guest.heartbeat)}, {"items", std::move(items)}};
}

void save(const Machine& machine, const std::string& path) {
    const std::vector<std::uint8_t> bytes = machine.save_devices().encode();
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(static_cast<const char*>(static_cast<const void*>(bytes.data())),
        static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) {
        throw SystemError(fmt::format(
            "saved state {}: {}; give a path that can be written to", path, std::strerror(errno)));
    }
}

void restore(Machine& machine, const std::string& path) {
    machine.restore_devices(
        vdev::Record::decode(read_input_file(path, "saved state", "\"file\"", largest_state)));
}

/// A command that answers nothing but that it is done.
Command plain(std::function<void()> function) {
    return [function = std::move(function)](const json& /*request*/) {
        function();
        return json::object();
    };
}

/// The same for one with a file.
Command with_file(std::function<void(const std::string& path)> function) {
    return [function = std::move(function)](const json& request) {
        function(request.at("file").get<std::string>());
        return json::object();
    };
}

} // namespace

MachineControl::MachineControl(
    Machine& machine, const Settings& settings, std::function<void()> stop)
    : machine_(machine),
      stop_(std::move(stop)) {
    commands_ = {
        {"status",
            [&](const json& /*request*/) {
                return status(machine, settings);
            }},
        {"statistics",
            [&](const json& /*request*/) {
                return json{{"statistics", machine.statistics()}};
            }},
        {"guest",
            [&](const json& /*request*/) {
                return guest(machine);
            }},
        {"shutdown",
            [&](const json& request) {
                return json{{"by", shut_down(machine, request)}};
            }},
        {urgent_command, plain(stop_)},
        {"reset", plain([&] { machine.reset(); })},
        {"pause", plain([&] { machine.pause(); })},
        {"resume", plain([&] { machine.resume(); })},
        {"save", with_file([&](const std::string& path) { save(machine, path); })},
        {"restore", with_file([&](const std::string& path) { restore(machine, path); })},
        {"devices",
            [&](const json& /*request*/) {
                return json{{"devices", machine.save_devices().to_json()}};
            }},
    };
    add_drive_commands(commands_, machine.storage());
    add_nic_commands(commands_, machine.network());
}

std::optional<json> MachineControl::handle_urgent(const json& request) const {
    if (request.at("command") != urgent_command) {
        return std::nullopt;
    }
    stop_();
    return json::object();
}

json MachineControl::handle(const json& request) const {
    const auto name = request.at("command").get<std::string>();
    const auto command = commands_.find(name);
    if (command == commands_.end()) {
        throw SettingsError(
            fmt::format("request: found command \"{}\", expected one of: {}; send one of them",
                name, fmt::join(std::views::keys(commands_), ", ")));
    }
    json result = command->second(request);
    result["state"] = name_of(machine_.state());
    return result;
}

} // namespace croft::worker
