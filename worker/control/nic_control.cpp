// SPDX-License-Identifier: Apache-2.0
#include "worker/control/nic_control.hpp"

#include "worker/error.hpp"

#include <cstdint>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace croft::worker {

using nlohmann::json;

namespace {

std::uint32_t number_of(const json& request) {
    const auto number = request.find("number");
    if (number == request.end() || !number->is_number_unsigned() || *number >= NicSettings::most) {
        throw SettingsError(fmt::format("request: found no \"number\" of a network adapter, "
                                        "expected a whole number below {}; send one that \"nics\" "
                                        "lists",
            NicSettings::most));
    }
    return number->get<std::uint32_t>();
}

bool is_up(const json& request) {
    const auto up = request.find("up");
    if (up == request.end() || !up->is_boolean()) {
        throw SettingsError("request: found no \"up\", expected true or false; send one of them");
    }
    return up->get<bool>();
}

} // namespace

json list_nics(const Network& network) {
    json nics = json::array();
    for (const NicSettings& nic : network.nics()) {
        nics.push_back(to_json(nic));
    }
    return nics;
}

void add_nic_commands(Commands& commands, Network& network) {
    commands["nics"] = [&network](const json& /*request*/) {
        return json{{"nics", list_nics(network)}};
    };
    commands["add-nic"] = [&network](const json& request) {
        return json{{"number", network.add(nic_from_json(request.at("nic"), "nic"))}};
    };
    commands["remove-nic"] = [&network](const json& request) {
        network.remove(number_of(request));
        return json::object();
    };
    commands["link"] = [&network](const json& request) {
        network.set_plugged(number_of(request), is_up(request));
        return json::object();
    };
}

} // namespace croft::worker
