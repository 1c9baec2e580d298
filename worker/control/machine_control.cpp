// SPDX-License-Identifier: Apache-2.0
#include "worker/control/machine_control.hpp"

#include "worker/control/drive_control.hpp"
#include "worker/control/nic_control.hpp"
#include "worker/error.hpp"
#include "worker/machine/input_file.hpp"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

namespace croft::worker {

using nlohmann::json;

namespace {
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
} // namespace

MachineControl::MachineControl(
    Machine& machine, const Settings& settings, std::function<void()> stop)
    : machine_(machine),
      settings_(settings),
      stop_(std::move(stop)) {}

/// A guest without the driver has a power button at least.
std::string_view MachineControl::shut_down(const json& request) {
    const Shutdown::Action action = action_of(request);
    const auto text = request.value("text", std::string());
    if (machine_.integration().request(
            {.action = action, .forced = request.value("force", false), .text = text})) {
        return "integration services";
    }
    if (action != Shutdown::Action::power_off) {
        throw SettingsError("request: found no driver in the guest for this, expected its "
                            "integration services (hv_utils) to run; send reset instead");
    }
    machine_.press_power_button();
    return "power button";
}

json MachineControl::handle(const json& request) {
    const auto command = request.at("command").get<std::string>();
    json result = json::object();
    if (command == "status") {
        result["name"] = settings_.name;
        result["settings"] = to_json(settings_);
        result["settings"]["drives"] = list_drives(machine_.storage());
        result["settings"]["nics"] = list_nics(machine_.network());
    } else if (command == "statistics") {
        result["statistics"] = machine_.statistics();
    } else if (command == "shutdown") {
        result["by"] = shut_down(request);
    } else if (command == "guest") {
        const IntegrationComponents::Guest guest = machine_.integration().guest();
        result["heartbeat"] = name_of(guest.heartbeat);
        result["items"] = json::object();
        for (const auto& [name, value] : guest.items) {
            result["items"][name] = value;
        }
    } else if (command == "stop") {
        stop_();
    } else if (command == "reset") {
        machine_.reset();
    } else if (command == "pause") {
        machine_.pause();
    } else if (command == "resume") {
        machine_.resume();
    } else if (command == "save") {
        save(request.at("file").get<std::string>());
    } else if (command == "restore") {
        restore(request.at("file").get<std::string>());
    } else if (command == "devices") {
        result["devices"] = machine_.save_devices().to_json();
    } else if (const auto done = control_drives(machine_.storage(), command, request)) {
        result = *done;
    } else if (const auto also = control_nics(machine_.network(), command, request)) {
        result = *also;
    } else {
        throw SettingsError(
            fmt::format("request: found command \"{}\", expected one of: status, "
                        "statistics, guest, shutdown, stop, reset, pause, resume, save, "
                        "restore, devices, drives, add-drive, remove-drive, resize-drive, "
                        "change-disc, nics, add-nic, remove-nic, link; send one of them",
                command));
    }
    result["state"] = name_of(machine_.state());
    return result;
}

void MachineControl::save(const std::string& path) const {
    const std::vector<std::uint8_t> bytes = machine_.save_devices().encode();
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(static_cast<const char*>(static_cast<const void*>(bytes.data())),
        static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) {
        throw SystemError(fmt::format(
            "saved state {}: {}; give a path that can be written to", path, std::strerror(errno)));
    }
}

void MachineControl::restore(const std::string& path) {
    machine_.restore_devices(
        vdev::Record::decode(read_input_file(path, "saved state", "\"file\"", largest_state)));
}

} // namespace croft::worker
