// SPDX-License-Identifier: Apache-2.0
// What a loader hands over, whichever protocol it speaks.
#pragma once

#include "hypervisor/boot/memory_map.hpp"

#include <array>
#include <cstdint>
#include <string_view>

namespace hypervisor {

struct BootModule {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::string_view arguments{}; ///< without the file's name
};

/// Strings still lie in the loader's memory.
struct BootInformation {
    MemoryMap memory{};
    std::string_view command_line{}; ///< without the image's name
    std::array<BootModule, 4> modules{};
    unsigned module_count = 0;
    /// The loader's copy of ACPI's RSDP (ACPI 6.4, 5.2.5.3); zeros if it gives none.
    std::array<std::uint8_t, 36> rsdp{};
    std::uint64_t efi_system_table = 0; ///< or 0: the firmware is a BIOS

    /// The memory map less the modules and their strings.
    /// \return false if there is no room for its ranges.
    [[nodiscard]] bool free_memory(MemoryMap& free) const;
};

} // namespace hypervisor
