// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/boot/multiboot.hpp"

#include <cstring>

namespace hypervisor {

namespace {

struct [[gnu::packed]] Information {
    std::uint32_t flags;
    std::uint32_t memory_lower;
    std::uint32_t memory_upper;
    std::uint32_t boot_device;
    std::uint32_t command_line;
    std::uint32_t module_count;
    std::uint32_t modules;
    std::uint32_t symbols[4];
    std::uint32_t map_length;
    std::uint32_t map;
};
constexpr std::uint32_t has_command_line = 1u << 2;
constexpr std::uint32_t has_modules = 1u << 3;
constexpr std::uint32_t has_map = 1u << 6;

struct [[gnu::packed]] Module {
    std::uint32_t begin;
    std::uint32_t end;
    std::uint32_t arguments;
    std::uint32_t reserved;
};

struct [[gnu::packed]] MapEntry {
    std::uint32_t size; ///< of what follows
    std::uint64_t base;
    std::uint64_t length;
    std::uint32_t type;
};

template <class T>
T copy_of(std::uint64_t address) {
    T value;
    std::memcpy(&value, reinterpret_cast<const void*>(address), sizeof value);
    return value;
}

/// A loader's string begins with the name of the file.
std::string_view arguments_of(std::uint32_t address) {
    if (address == 0) {
        return {};
    }
    constexpr std::size_t longest = 4096;
    const char* const text = reinterpret_cast<const char*>(std::uint64_t{address});
    std::string_view line{text, strnlen(text, longest)};
    const auto blank = line.find(' ');
    if (blank == std::string_view::npos) {
        return {};
    }
    line.remove_prefix(blank + 1);
    return line;
}

} // namespace

std::expected<BootInformation, std::string_view> read_multiboot(std::uint64_t address) {
    const auto information = copy_of<Information>(address);
    BootInformation boot;
    if ((information.flags & has_map) == 0) {
        return std::unexpected("the loader gives no memory map; use GRUB or QEMU's -kernel");
    }
    const std::uint64_t map_end = std::uint64_t{information.map} + information.map_length;
    for (std::uint64_t at = information.map; at + sizeof(MapEntry) <= map_end;) {
        const auto entry = copy_of<MapEntry>(at);
        const bool overflows = entry.base + entry.length < entry.base;
        const auto type = entry.type >= 1 && entry.type <= 5 ? static_cast<MemoryType>(entry.type)
                                                             : MemoryType::reserved;
        if (!overflows && !boot.memory.add(entry.base, entry.base + entry.length, type)) {
            return std::unexpected("the memory map has more than 128 ranges");
        }
        at += entry.size + sizeof entry.size;
    }
    if ((information.flags & has_command_line) != 0) {
        boot.command_line = arguments_of(information.command_line);
    }
    if ((information.flags & has_modules) != 0) {
        for (unsigned i = 0; i < information.module_count && i < boot.modules.size(); ++i) {
            const auto module = copy_of<Module>(information.modules + i * sizeof(Module));
            if (module.end < module.begin) {
                return std::unexpected("a Multiboot module ends before it begins");
            }
            boot.modules[boot.module_count++] = {
                module.begin, module.end, arguments_of(module.arguments)};
        }
    }
    return boot;
}

} // namespace hypervisor
