// SPDX-License-Identifier: Apache-2.0
#include "tests/guests/child_statistics.hpp"

#include <filesystem>
#include <fstream>
#include <string>

namespace croft::guests {

namespace {

namespace fs = std::filesystem;

std::vector<std::uint64_t> counters(std::string_view name, bool of_processors) {
    std::vector<std::uint64_t> result;
    for (const auto& entry : fs::recursive_directory_iterator{"/sys/kernel/debug/mshv/partition"}) {
        const std::string path = entry.path().string();
        const bool is_root = path.find("/partition/1/") != std::string::npos;
        const bool is_processor = path.find("/vp/") != std::string::npos;
        if (is_root || is_processor != of_processors || !path.ends_with("/stats")) {
            continue;
        }
        std::ifstream file{path};
        for (std::string line; std::getline(file, line);) {
            if (line.substr(0, line.find_first_of(" :")) == name) {
                result.push_back(std::stoull(line.substr(line.find(':') + 1)));
            }
        }
    }
    return result;
}

} // namespace

std::vector<std::uint64_t> partition_counters(std::string_view name) {
    return counters(name, false);
}

std::vector<std::uint64_t> processor_counters(std::string_view name) {
    return counters(name, true);
}

} // namespace croft::guests
