// SPDX-License-Identifier: Apache-2.0
#include "worker/control/machine_control.hpp"

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
} // namespace

MachineControl::MachineControl(
    Machine& machine, const Settings& settings, std::function<void()> stop)
    : machine_(machine),
      settings_(settings),
      stop_(std::move(stop)) {}

json MachineControl::handle(const json& request) {
    const auto command = request.at("command").get<std::string>();
    json result = json::object();
    if (command == "status") {
        result["name"] = settings_.name;
        result["settings"] = to_json(settings_);
    } else if (command == "statistics") {
        result["statistics"] = machine_.statistics();
    } else if (command == "shutdown") {
        machine_.press_power_button();
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
    } else {
        throw SettingsError(fmt::format("request: found command \"{}\", expected one of: status, "
                                        "statistics, shutdown, stop, reset, pause, resume, save, "
                                        "restore, devices; send one of them",
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
