// SPDX-License-Identifier: Apache-2.0
#include "worker/machine/host_memory.hpp"

#include "worker/error.hpp"

#include <fmt/format.h>
#include <fstream>
#include <string>

namespace croft::worker {

void check_host_memory(std::uint64_t size) {
    std::ifstream file("/proc/meminfo");
    std::string name;
    std::uint64_t kibibytes = 0;
    std::string unit;
    while (file >> name >> kibibytes >> unit) {
        if (name == "MemAvailable:") {
            if (kibibytes * 1024 < size) {
                throw SystemError(
                    fmt::format("memory: found {} MiB available on this host, expected "
                                "at least the VM's {}; give the VM less with --memory, "
                                "or free memory on this host",
                        kibibytes >> 10, size >> 20));
            }
            return;
        }
    }
}

} // namespace croft::worker
