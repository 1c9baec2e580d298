// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/memory/guest_memory.hpp"
#include "worker/memory/layout.hpp"

#include <cstdint>
#include <span>
#include <string>

namespace croft::worker {

/// What is to be booted, and where. The spans and the layout outlive the loading.
struct BootRequest {
    /// How messages call the kernel's file.
    std::string kernel_name;
    std::span<const std::uint8_t> kernel;
    std::span<const std::uint8_t> initial_ram_disk;
    std::string command_line;
    const MemoryLayout& layout;
    /// The guest physical address of the ACPI tables' root.
    std::uint64_t rsdp = 0;
};

/// How the first processor begins: in a flat address space, with interrupts off.
struct BootEntry {
    enum class Mode {
        long_64,      ///< 64-bit code, the first 4 GiB mapped as they are.
        protected_32, ///< 32-bit code, no paging.
    };

    Mode mode = Mode::long_64;
    std::uint64_t address = 0;
    std::uint64_t rsi = 0;
    std::uint64_t rbx = 0;
};

/// Where loaders put what the kernel finds in low memory. All of it is below MemoryLayout's
/// `base_memory_end`, above the first page.
struct BootArea {
    static constexpr std::uint64_t descriptor_table = 0x1000;
    static constexpr std::uint64_t start_info = 0x6000;
    static constexpr std::uint64_t zero_page = 0x7000;
    static constexpr std::uint64_t page_tables = 0x9000;
    static constexpr std::uint64_t command_line = 0x20000;
    static constexpr std::uint64_t command_line_size = 0x10000;
};

/// Puts a kernel, its initial RAM disk and its command line into a VM's memory: a Linux bzImage, or
/// an ELF file with a PVH entry. Each field of the file is checked, since it may come from anybody.
/// Errors: LoadError if the file is neither, is damaged, or doesn't fit into the memory.
[[nodiscard]] BootEntry load_kernel(const BootRequest& request, GuestMemory& memory);

/// The two that `load_kernel` chooses from.
[[nodiscard]] BootEntry load_bzimage(const BootRequest& request, GuestMemory& memory);
[[nodiscard]] BootEntry load_pvh(const BootRequest& request, GuestMemory& memory);

} // namespace croft::worker
