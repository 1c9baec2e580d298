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

std::optional<json> control_nics(
    Network& network, const std::string& command, const json& request) {
    json result = json::object();
    if (command == "nics") {
        result["nics"] = list_nics(network);
    } else if (command == "add-nic") {
        result["number"] = network.add(nic_from_json(request.at("nic"), "nic"));
    } else if (command == "remove-nic") {
        network.remove(number_of(request));
    } else if (command == "link") {
        network.set_plugged(number_of(request), is_up(request));
    } else {
        return std::nullopt;
    }
    return result;
}

} // namespace croft::worker
