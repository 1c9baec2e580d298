// SPDX-License-Identifier: Apache-2.0
#include "worker/settings/nic_option.hpp"

#include "worker/error.hpp"

#include <algorithm>
#include <cstdint>
#include <fmt/format.h>
#include <string_view>

namespace croft::worker {

namespace {

/// `key` is in messages only.
std::uint32_t number_of(const std::string& text, std::string_view key) {
    const std::uint64_t value = parse_size(text, fmt::format("--nic {}", key));
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(value, ~std::uint32_t{0}));
}

NicSettings::Process process_of(const std::string& word) {
    if (word != "worker" && word != "own") {
        throw SettingsError(
            fmt::format("--nic process: found \"{}\", expected worker or own; correct it", word));
    }
    return word == "own" ? NicSettings::Process::own : NicSettings::Process::worker;
}

} // namespace

NicSettings parse_nic_option(const std::string& text) {
    NicSettings nic;
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find(',', at), text.size());
        const std::string word = text.substr(at, end - at);
        const std::size_t equals = std::min(word.find('='), word.size());
        const std::string key = word.substr(0, equals);
        const std::string value = equals < word.size() ? word.substr(equals + 1) : "";
        if (key == "tap") {
            nic.tap = value;
        } else if (key == "bridge") {
            nic.bridge = value;
        } else if (key == "mac") {
            nic.mac = value;
        } else if (key == "mtu") {
            nic.mtu = number_of(value, key);
        } else if (key == "queues") {
            nic.queues = number_of(value, key);
        } else if (key == "number") {
            nic.number = number_of(value, key);
        } else if (key == "process") {
            nic.process = process_of(value);
        } else {
            throw SettingsError(fmt::format("--nic: found \"{}\", expected tap=, bridge=, mac=, "
                                            "mtu=, queues=, number= or process=; correct it",
                word));
        }
        at = end + 1;
    }
    return nic;
}

} // namespace croft::worker
