// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/boot/boot_information.hpp"

#include <span>

namespace hypervisor {

bool BootInformation::free_memory(MemoryMap& free) const {
    free = memory;
    // In whole pages: what is found in the rest begins and ends with pages.
    const auto keep = [&free](std::uint64_t begin, std::uint64_t end) {
        return free.reserve(begin & ~(page_size - 1), (end + page_size - 1) & ~(page_size - 1));
    };
    for (const BootModule& module : std::span{modules}.first(module_count)) {
        const auto arguments = reinterpret_cast<std::uint64_t>(module.arguments.data());
        if (!keep(module.begin, module.end) ||
            (arguments != 0 && !keep(arguments, arguments + module.arguments.size()))) {
            return false;
        }
    }
    return true;
}

} // namespace hypervisor
