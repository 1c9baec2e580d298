// SPDX-License-Identifier: Apache-2.0
#include "worker/loader/loading.hpp"

#include <algorithm>
#include <vector>

namespace croft::worker {

void put(GuestMemory& memory, std::uint64_t gpa, std::span<const std::uint8_t> bytes) {
    if (!memory.write(gpa, bytes)) {
        throw LoadError(
            fmt::format("memory: found {:#x} bytes for guest address {:#x}, expected them "
                        "inside the VM's memory; give the VM more with --memory",
                bytes.size(), gpa));
    }
}

void put_command_line(const BootRequest& request, std::uint64_t longest, GuestMemory& memory) {
    const std::uint64_t limit = std::min(longest, BootArea::command_line_size - 1);
    const std::string& text = request.command_line;
    if (text.size() > limit) {
        throw LoadError(
            fmt::format("command line: found {} characters, expected at most {}, which is "
                        "what kernel {} takes; shorten --cmdline",
                text.size(), limit, request.kernel_name));
    }
    std::vector<std::uint8_t> bytes(text.begin(), text.end());
    bytes.push_back(0);
    put(memory, BootArea::command_line, bytes);
}

std::uint64_t put_initial_ram_disk(const BootRequest& request, std::uint64_t kernel_end,
    std::uint64_t limit, GuestMemory& memory) {
    const std::uint64_t size = request.initial_ram_disk.size();
    if (size == 0) {
        return 0;
    }
    const std::uint64_t end = std::min(limit, request.layout.low_memory_end());
    const std::uint64_t address = end < size ? 0 : (end - size) / boot_page * boot_page;
    if (address < kernel_end) {
        throw LoadError(
            fmt::format("memory: found {} MiB below 4 GiB, expected enough for kernel {} "
                        "and an initial RAM disk of {} MiB; give the VM more with --memory",
                request.layout.low_memory_end() / mebibyte, request.kernel_name,
                (size + mebibyte - 1) / mebibyte));
    }
    put(memory, address, request.initial_ram_disk);
    return address;
}

BootEntry load_kernel(const BootRequest& request, GuestMemory& memory) {
    constexpr std::uint32_t elf_magic = 0x464c457f;
    const auto magic = ImageReader(request.kernel).at<std::uint32_t>(0);
    return magic == elf_magic ? load_pvh(request, memory) : load_bzimage(request, memory);
}

} // namespace croft::worker
