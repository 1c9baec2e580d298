// SPDX-License-Identifier: Apache-2.0
// What a Multiboot2 loader hands over (Multiboot2 Specification 2.0, 3.6): GRUB, on BIOS and UEFI.
#pragma once

#include "hypervisor/boot/boot_information.hpp"

#include <cstdint>
#include <expected>
#include <string_view>

namespace hypervisor {

/// Reads the loader's structures. Strings still point into the loader's memory.
/// \param address physical address of the Multiboot2 information structure.
/// \return or one line that says what is wrong.
std::expected<BootInformation, std::string_view> read_multiboot2(std::uint64_t address);

} // namespace hypervisor
