// SPDX-License-Identifier: Apache-2.0
#include "vmbus/memory/mapped_memory.hpp"

#include "vmbus/protocol/gpa_range.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits>
#include <sys/mman.h>
#include <sys/stat.h>

namespace croft::vmbus {

using protocol::page_size;

namespace {

bool is_sound(const MemoryFileRange& range, std::uint64_t file_size) {
    return range.size != 0 && range.start % page_size == 0 && range.size % page_size == 0 &&
        range.file_offset % page_size == 0 &&
        range.size <= std::numeric_limits<std::uint64_t>::max() - range.start &&
        range.file_offset <= file_size && range.size <= file_size - range.file_offset;
}

} // namespace

std::expected<std::unique_ptr<MappedMemory>, std::string> MappedMemory::map(
    int file, std::span<const MemoryFileRange> ranges) {
    struct stat status {};
    // A file that can shrink could take its pages away under our hands.
    if (fstat(file, &status) != 0 || status.st_size < 0 || !S_ISREG(status.st_mode) ||
        (fcntl(file, F_GET_SEALS) & F_SEAL_SHRINK) == 0) {
        return std::unexpected(std::string(
            "guest memory: found a descriptor that is no sealed memory file, expected a memfd with "
            "F_SEAL_SHRINK"));
    }
    std::unique_ptr<MappedMemory> memory(new MappedMemory);
    for (const MemoryFileRange& range : ranges) {
        if (!is_sound(range, static_cast<std::uint64_t>(status.st_size))) {
            return std::unexpected(
                fmt::format("guest memory: found a range of {:#x} bytes at {:#x} from offset {:#x} "
                            "of the file, expected whole pages within its {:#x} bytes",
                    range.size, range.start, range.file_offset, status.st_size));
        }
        void* const address = mmap(nullptr, range.size, PROT_READ | PROT_WRITE, MAP_SHARED, file,
            static_cast<off_t>(range.file_offset));
        if (address == MAP_FAILED) {
            return std::unexpected(fmt::format(
                "guest memory: can't map {:#x} bytes: {}", range.size, std::strerror(errno)));
        }
        // What the guest keeps to itself has no business in a core file.
        madvise(address, range.size, MADV_DONTDUMP);
        memory->regions_.push_back(
            {range.start / page_size, range.size / page_size, static_cast<std::uint8_t*>(address)});
    }
    return memory;
}

MappedMemory::~MappedMemory() {
    for (const Region& region : regions_) {
        munmap(region.address, region.page_count * page_size);
    }
}

std::uint8_t* MappedMemory::page(std::uint64_t page) const {
    for (const Region& region : regions_) {
        if (page >= region.first_page && page - region.first_page < region.page_count) {
            return region.address + (page - region.first_page) * page_size;
        }
    }
    return nullptr;
}

} // namespace croft::vmbus
