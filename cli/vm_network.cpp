// SPDX-License-Identifier: Apache-2.0
#include "cli/vm_network.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <net/if.h>
#include <string_view>
#include <unistd.h>

namespace croft::cli {

namespace {

// Where croft-network says what it has made.
constexpr const char* bridge_record = "/run/croft/network/bridge";

bool is_plain(char letter) {
    return (letter >= '0' && letter <= '9') || (letter >= 'A' && letter <= 'Z') ||
        (letter >= 'a' && letter <= 'z') || letter == '-' || letter == '_' || letter == '.';
}

// One name of a network device for each adapter of each VM; FNV-1a where the VM's doesn't fit.
std::string device_name(const std::string& vm_name, std::uint32_t number) {
    const std::string prefix = number == 0 ? "vm-" : fmt::format("vm{}-", number);
    const std::size_t room = IFNAMSIZ - 1 - prefix.size();
    if (vm_name.size() <= room && std::ranges::all_of(vm_name, is_plain))
        return prefix + vm_name;
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char letter : vm_name)
        hash = (hash ^ static_cast<std::uint8_t>(letter)) * 0x100000001b3;
    return prefix + fmt::format("{:016x}", hash).substr(0, room);
}

} // namespace

std::optional<std::string> default_adapter(const std::string& vm_name, std::uint32_t number) {
    std::string bridge;
    std::ifstream{bridge_record} >> bridge;
    std::error_code error;
    if (geteuid() != 0 || bridge.empty() || bridge.contains('/') ||
        !std::filesystem::exists("/sys/class/net/" + bridge + "/bridge", error))
        return std::nullopt;
    return fmt::format("tap={},bridge={}", device_name(vm_name, number), bridge);
}

} // namespace croft::cli
