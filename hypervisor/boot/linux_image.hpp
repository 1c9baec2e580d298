// SPDX-License-Identifier: Apache-2.0
// A Linux kernel as a bzImage and the parameters it is started with (the kernel's
// Documentation/arch/x86/boot.rst and zero-page.rst, 32-bit boot protocol).
#pragma once

#include "hypervisor/boot/memory_map.hpp"

#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

namespace hypervisor {

struct LinuxImage {
    std::uint32_t protected_mode_offset = 0; ///< in the file, bytes
    std::uint32_t protected_mode_size = 0;
    std::uint32_t init_size = 0;         ///< memory that it needs from where it is loaded, bytes
    std::uint32_t alignment = 0;         ///< of where it is loaded
    std::uint64_t preferred = 0;         ///< address below which it should not be loaded
    bool relocatable = false;            ///< else it must be loaded just there
    std::uint32_t command_line_size = 0; ///< longest command line, without the final zero
    std::uint32_t initrd_address_max = 0;
};

/// Checks a file. \return or one line that says what is wrong with it.
std::expected<LinuxImage, std::string_view> parse_linux_image(std::span<const std::uint8_t> file);

struct LinuxStart {
    std::uint64_t load_address = 0;
    std::uint64_t initrd_begin = 0;
    std::uint64_t initrd_size = 0;
    std::uint64_t command_line = 0; ///< physical address
    std::uint64_t rsdp = 0;
    bool text_screen = true; ///< it is in the BIOS's text mode; else nothing is known of it
};

/// Fills the 4 KiB of boot parameters ("zero page"). They tell nothing of UEFI, so that the root
/// runs none of its services: firmware prepares for the operating system's addresses
/// (SetVirtualAddressMap) in memory of the boot services too, which by then is the hypervisor's and
/// the root's. What there is to know, memory and ACPI, the parameters tell.
void fill_boot_parameters(std::span<std::uint8_t, 4096> page, std::span<const std::uint8_t> file,
    const LinuxStart& start, const MemoryMap& memory);

} // namespace hypervisor
