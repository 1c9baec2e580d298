// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/boot/multiboot2.hpp"

#include "hypervisor/boot/acpi.hpp"

#include <cstring>
#include <span>

namespace hypervisor {

namespace {

using Bytes = std::span<const std::uint8_t>;

enum class Tag : std::uint32_t {
    end = 0,
    command_line = 1,
    module = 3,
    memory_map = 6,
    efi_system_table_32 = 11,
    efi_system_table_64 = 12,
    acpi_old_rsdp = 14,
    acpi_new_rsdp = 15,
    efi_memory_map = 17,
    efi_boot_services_run = 18,
};

struct TagHeader {
    std::uint32_t type;
    std::uint32_t size; ///< with this header, without the padding behind the tag
};
constexpr std::size_t tag_alignment = 8;

struct Module {
    std::uint32_t begin;
    std::uint32_t end;
};

/// Of both maps: what their entries have in common is that later versions may be longer.
struct MapHeader {
    std::uint32_t entry_size;
    std::uint32_t entry_version;
};
struct MapEntry {
    std::uint64_t base;
    std::uint64_t length;
    std::uint32_t type;
    std::uint32_t reserved;
};

/// EFI_MEMORY_DESCRIPTOR (UEFI 2.10, 7.2.3).
struct EfiDescriptor {
    std::uint32_t type;
    std::uint32_t padding;
    std::uint64_t base;
    std::uint64_t virtual_base;
    std::uint64_t pages; ///< of 4 KiB
    std::uint64_t attributes;
};
constexpr std::uint64_t efi_write_back = 1ull << 3;
constexpr std::uint64_t efi_specific_purpose = 1ull << 18;

constexpr std::string_view too_many_ranges = "the memory map has more than 128 ranges";

template <class T>
T copy_of(Bytes bytes) {
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

std::string_view text_of(Bytes bytes) {
    const char* const text = reinterpret_cast<const char*>(bytes.data());
    return {text, strnlen(text, bytes.size())};
}

enum EfiMemory : std::uint32_t {
    efi_loader_code = 1,
    efi_loader_data = 2,
    efi_boot_services_code = 3,
    efi_boot_services_data = 4,
    efi_conventional = 7,
    efi_unusable = 8,
    efi_acpi_reclaim = 9,
    efi_acpi_nvs = 10,
};

/// What a range is good for when the firmware's boot services have ended (UEFI 2.10, 7.2.6).
MemoryType type_of(const EfiDescriptor& descriptor) {
    const bool is_plain =
        (descriptor.attributes & (efi_write_back | efi_specific_purpose)) == efi_write_back;
    switch (descriptor.type) {
    case efi_loader_code:
    case efi_loader_data:
    case efi_boot_services_code:
    case efi_boot_services_data:
    case efi_conventional:
        return is_plain ? MemoryType::usable : MemoryType::reserved;
    case efi_unusable:
        return MemoryType::unusable;
    case efi_acpi_reclaim:
        return MemoryType::acpi;
    case efi_acpi_nvs:
        return MemoryType::nvs;
    default:
        return MemoryType::reserved;
    }
}

/// What goes wrong, or nothing.
using Problem = std::string_view;

/// Adds a range. One that wraps around is none.
Problem add(MemoryMap& map, std::uint64_t base, std::uint64_t length, MemoryType type) {
    const bool wraps_around = base + length < base;
    return wraps_around || map.add(base, base + length, type) ? Problem{} : too_many_ranges;
}

Problem add_entry(MemoryMap& map, const MapEntry& entry) {
    const bool is_known = entry.type >= 1 && entry.type <= 5;
    return add(map, entry.base, entry.length,
        is_known ? static_cast<MemoryType>(entry.type) : MemoryType::reserved);
}

Problem add_entry(MemoryMap& map, const EfiDescriptor& descriptor) {
    const bool overflows = descriptor.pages > ~0ull >> page_shift;
    return overflows
        ? Problem{}
        : add(map, descriptor.base, descriptor.pages << page_shift, type_of(descriptor));
}

template <class Entry>
Problem read_map(Bytes content, MemoryMap& map) {
    if (content.size() < sizeof(MapHeader)) {
        return "the loader's memory map has no beginning";
    }
    const auto header = copy_of<MapHeader>(content);
    if (header.entry_size < sizeof(Entry)) {
        return "the entries of the loader's memory map are too short";
    }
    content = content.subspan(sizeof(MapHeader));
    while (content.size() >= header.entry_size) {
        if (const Problem problem = add_entry(map, copy_of<Entry>(content)); !problem.empty()) {
            return problem;
        }
        content = content.subspan(header.entry_size);
    }
    return {};
}

Problem read_module(Bytes content, BootInformation& boot) {
    if (content.size() < sizeof(Module)) {
        return "a Multiboot2 module says not where it is";
    }
    const auto module = copy_of<Module>(content);
    if (module.end < module.begin) {
        return "a Multiboot2 module ends before it begins";
    }
    if (boot.module_count < boot.modules.size()) {
        boot.modules[boot.module_count++] = {
            module.begin, module.end, text_of(content.subspan(sizeof(Module)))};
    }
    return {};
}

/// Damaged ones are passed over; the longer one, which comes with newer tables, is preferred.
void read_rsdp(Bytes content, std::size_t length, BootInformation& boot) {
    constexpr std::size_t revision = 15;
    const bool is_there = boot.rsdp[0] != 0;
    if (content.size() < length || !is_rsdp(content.data()) ||
        (is_there && boot.rsdp[revision] >= content[revision])) {
        return;
    }
    boot.rsdp = {};
    std::memcpy(boot.rsdp.data(), content.data(), length);
}

template <class Address>
void read_system_table(Bytes content, BootInformation& boot) {
    if (content.size() >= sizeof(Address)) {
        boot.efi_system_table = copy_of<Address>(content);
    }
}

Problem read_tag(Tag type, Bytes content, BootInformation& boot) {
    constexpr std::size_t old_rsdp_length = 20;
    switch (type) {
    case Tag::command_line:
        boot.command_line = text_of(content);
        return {};
    case Tag::module:
        return read_module(content, boot);
    case Tag::memory_map:
        return read_map<MapEntry>(content, boot.memory);
    case Tag::efi_memory_map:
        return read_map<EfiDescriptor>(content, boot.memory);
    case Tag::efi_system_table_32:
        read_system_table<std::uint32_t>(content, boot);
        return {};
    case Tag::efi_system_table_64:
        read_system_table<std::uint64_t>(content, boot);
        return {};
    case Tag::acpi_old_rsdp:
        read_rsdp(content, old_rsdp_length, boot);
        return {};
    case Tag::acpi_new_rsdp:
        read_rsdp(content, boot.rsdp.size(), boot);
        return {};
    case Tag::efi_boot_services_run:
        return "the loader has left UEFI's boot services running";
    default:
        return {};
    }
}

} // namespace

std::expected<BootInformation, std::string_view> read_multiboot2(std::uint64_t address) {
    constexpr std::size_t fixed_part = 8; // the size of all, and a reserved word
    const auto* const begin = reinterpret_cast<const std::uint8_t*>(address);
    const std::size_t size = copy_of<std::uint32_t>({begin, sizeof(std::uint32_t)});
    BootInformation boot;
    for (std::size_t at = fixed_part; at + sizeof(TagHeader) <= size;) {
        const auto tag = copy_of<TagHeader>({begin + at, sizeof(TagHeader)});
        if (tag.size < sizeof(TagHeader) || tag.size > size - at) {
            return std::unexpected("a tag of the Multiboot2 information is cut off");
        }
        if (static_cast<Tag>(tag.type) == Tag::end) {
            if (boot.memory.ranges().empty()) {
                return std::unexpected("the loader gives no memory map; use GRUB's multiboot2");
            }
            return boot;
        }
        const Bytes content{begin + at + sizeof(TagHeader), tag.size - sizeof(TagHeader)};
        if (const Problem problem = read_tag(static_cast<Tag>(tag.type), content, boot);
            !problem.empty()) {
            return std::unexpected(problem);
        }
        at += (tag.size + tag_alignment - 1) & ~(tag_alignment - 1);
    }
    return std::unexpected("the Multiboot2 information has no end");
}

} // namespace hypervisor
