// SPDX-License-Identifier: Apache-2.0
// What a Multiboot loader hands over (Multiboot Specification 0.6.96, 3.3).
#pragma once

#include "hypervisor/boot/memory_map.hpp"

#include <array>
#include <cstdint>
#include <expected>
#include <string_view>

namespace hypervisor {

struct BootModule {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::string_view arguments{}; ///< without the file's name
};

struct BootInformation {
    MemoryMap memory{};
    std::string_view command_line{}; ///< without the image's name
    std::array<BootModule, 4> modules{};
    unsigned module_count = 0;
};

/// Reads the loader's structures. Strings still point into the loader's memory.
/// \param address physical address of the Multiboot information structure.
/// \return or one line that says what is wrong.
std::expected<BootInformation, std::string_view> read_multiboot(std::uint64_t address);

} // namespace hypervisor
