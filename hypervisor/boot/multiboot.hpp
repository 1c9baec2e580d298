// SPDX-License-Identifier: Apache-2.0
// What a Multiboot loader hands over (Multiboot Specification 0.6.96, 3.3): QEMU, or an old GRUB.
#pragma once

#include "hypervisor/boot/boot_information.hpp"

#include <cstdint>
#include <expected>
#include <string_view>

namespace hypervisor {

/// Reads the loader's structures. Strings still point into the loader's memory.
/// \param address physical address of the Multiboot information structure.
/// \return or one line that says what is wrong.
std::expected<BootInformation, std::string_view> read_multiboot(std::uint64_t address);

} // namespace hypervisor
