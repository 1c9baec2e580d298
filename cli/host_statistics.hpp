// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace croft::cli {

// One line that says what was found, what was expected and what to do.
class HostError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// The hypervisor's counters, as the root's kernel shows them in its debug file system:
// CROFT_STATISTICS or /sys/kernel/debug/mshv. Counters have the kernel's names; times are in units
// of 100 ns.
using Counters = std::map<std::string, std::uint64_t>;

struct PartitionStatistics {
    Counters counters;
    std::map<std::uint32_t, Counters> virtual_processors; // by index
};

struct HostStatistics {
    std::chrono::steady_clock::time_point time;
    Counters hypervisor;
    std::map<std::uint32_t, Counters> logical_processors;    // by index
    std::map<std::uint64_t, PartitionStatistics> partitions; // by id; 1 is the root

    // Reads all there are; a partition that goes away meanwhile is left out. Errors: HostError if
    // this is no root partition, or the user may not read them.
    static HostStatistics read();
};

std::filesystem::path statistics_directory();

// What one kind of exit is called, and the counter of it. Together they are all world switches of a
// virtual processor.
struct ExitKind {
    const char* name;
    const char* counter;
};
const std::vector<ExitKind>& exit_kinds();

} // namespace croft::cli
