// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/boot/linux_image.hpp"

#include <cstring>

namespace hypervisor {

namespace {

// Offsets in the file and in the boot parameters alike.
constexpr std::size_t setup_header = 0x1f1;
constexpr std::size_t setup_sectors = 0x1f1;
constexpr std::size_t jump_displacement = 0x201;
constexpr std::size_t header_magic = 0x202;
constexpr std::size_t protocol_version = 0x206;
constexpr std::size_t type_of_loader = 0x210;
constexpr std::size_t load_flags = 0x211;
constexpr std::size_t code32_start = 0x214;
constexpr std::size_t ramdisk_image = 0x218;
constexpr std::size_t ramdisk_size = 0x21c;
constexpr std::size_t command_line_pointer = 0x228;
constexpr std::size_t initrd_address_max = 0x22c;
constexpr std::size_t kernel_alignment = 0x230;
constexpr std::size_t relocatable_kernel = 0x234;
constexpr std::size_t command_line_size = 0x238;
constexpr std::size_t preferred_address = 0x258;
constexpr std::size_t init_size = 0x260;
constexpr std::size_t header_end = 0x268;

// Offsets in the boot parameters.
constexpr std::size_t screen_columns = 0x07;
constexpr std::size_t screen_mode = 0x06;
constexpr std::size_t screen_lines = 0x0e;
constexpr std::size_t screen_is_vga = 0x0f;
constexpr std::size_t screen_points = 0x10;
constexpr std::size_t acpi_rsdp = 0x070;
constexpr std::size_t e820_count = 0x1e8;
constexpr std::size_t e820_table = 0x2d0;
constexpr std::size_t e820_entry_size = 20;
constexpr std::size_t e820_most = 128;

constexpr std::uint32_t magic = 0x53726448; // "HdrS"
constexpr std::uint16_t oldest_protocol = 0x020c;
constexpr std::uint8_t loaded_high = 1;
constexpr std::uint8_t undefined_loader = 0xff;

template <class T>
T get(std::span<const std::uint8_t> bytes, std::size_t at) {
    T value;
    std::memcpy(&value, &bytes[at], sizeof value);
    return value;
}
template <class T>
void put(std::span<std::uint8_t> bytes, std::size_t at, T value) {
    std::memcpy(&bytes[at], &value, sizeof value);
}

} // namespace

std::expected<LinuxImage, std::string_view> parse_linux_image(std::span<const std::uint8_t> file) {
    if (file.size() < header_end || get<std::uint32_t>(file, header_magic) != magic) {
        return std::unexpected("the first module is no Linux kernel (a bzImage is expected)");
    }
    if (get<std::uint16_t>(file, protocol_version) < oldest_protocol) {
        return std::unexpected("the kernel's boot protocol is older than 2.12");
    }
    if ((file[load_flags] & loaded_high) == 0) {
        return std::unexpected("the kernel is no bzImage but an old zImage");
    }
    const std::uint32_t sectors = file[setup_sectors] != 0 ? file[setup_sectors] : 4u;
    LinuxImage image;
    image.protected_mode_offset = (sectors + 1) * 512;
    if (image.protected_mode_offset >= file.size()) {
        return std::unexpected("the kernel file is cut off");
    }
    image.protected_mode_size =
        static_cast<std::uint32_t>(file.size() - image.protected_mode_offset);
    image.init_size = get<std::uint32_t>(file, init_size);
    image.alignment = get<std::uint32_t>(file, kernel_alignment);
    image.relocatable = file[relocatable_kernel] != 0;
    image.preferred = get<std::uint64_t>(file, preferred_address);
    image.command_line_size = get<std::uint32_t>(file, command_line_size);
    image.initrd_address_max = get<std::uint32_t>(file, initrd_address_max);
    if (image.alignment == 0 || (image.alignment & (image.alignment - 1)) != 0) {
        return std::unexpected("the kernel's header asks for an alignment that is no power of two");
    }
    if (image.init_size < image.protected_mode_size) {
        return std::unexpected("the kernel's header asks for less memory than the kernel has");
    }
    return image;
}

void fill_boot_parameters(std::span<std::uint8_t, 4096> page, std::span<const std::uint8_t> file,
    const LinuxStart& start, const MemoryMap& memory) {
    std::memset(page.data(), 0, page.size());
    const std::size_t end = header_magic + file[jump_displacement];
    std::memcpy(&page[setup_header], &file[setup_header],
        (end < header_end ? header_end : end) - setup_header);
    page[type_of_loader] = undefined_loader;
    put(std::span<std::uint8_t>{page}, code32_start,
        static_cast<std::uint32_t>(start.load_address));
    put(std::span<std::uint8_t>{page}, ramdisk_image,
        static_cast<std::uint32_t>(start.initrd_begin));
    put(std::span<std::uint8_t>{page}, ramdisk_size, static_cast<std::uint32_t>(start.initrd_size));
    put(std::span<std::uint8_t>{page}, command_line_pointer,
        static_cast<std::uint32_t>(start.command_line));
    put(std::span<std::uint8_t>{page}, acpi_rsdp, start.rsdp);

    if (start.text_screen) {
        page[screen_mode] = 3;
        page[screen_columns] = 80;
        page[screen_lines] = 25;
        page[screen_is_vga] = 1;
        page[screen_points] = 16;
    }

    std::size_t count = 0;
    for (const MemoryRange& range : memory.ranges()) {
        if (count == e820_most) {
            break;
        }
        const std::size_t at = e820_table + e820_entry_size * count++;
        put(std::span<std::uint8_t>{page}, at, range.begin);
        put(std::span<std::uint8_t>{page}, at + 8, range.end - range.begin);
        put(std::span<std::uint8_t>{page}, at + 16, static_cast<std::uint32_t>(range.type));
    }
    page[e820_count] = static_cast<std::uint8_t>(count);
}

} // namespace hypervisor
