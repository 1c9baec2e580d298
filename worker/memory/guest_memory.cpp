// SPDX-License-Identifier: Apache-2.0
#include "worker/memory/guest_memory.hpp"

#include "worker/error.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <utility>

namespace croft::worker {

namespace {

/// Guest memory is laid out so that a large page of the host can be one of the guest.
constexpr std::uint64_t large_page = 2 * mebibyte;
constexpr std::uint64_t page_size = 4096;

/// The words of a bitmap of a range's pages.
std::size_t words_of(const MemoryRange& range) {
    return (range.size + page_size * pages_per_word - 1) / (page_size * pages_per_word);
}

[[noreturn]] void refuse(std::string_view what, std::uint64_t size, int error) {
    throw SystemError(fmt::format("memory: can't {} {} MiB: {}; give the VM less with --memory, or "
                                  "free memory on this host",
        what, size / mebibyte, std::strerror(error)));
}

} // namespace

GuestMemory::GuestMemory(const std::vector<MemoryRange>& ranges) {
    std::uint64_t total = 0;
    for (const MemoryRange& range : ranges) {
        total += range.size;
    }
    file_ = FileDescriptor(memfd_create("croft-guest-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    // Holes may still be punched, as `clear` does.
    if (!file_ || ftruncate(file_.get(), static_cast<off_t>(total)) != 0 ||
        fcntl(file_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        refuse("make a file for", total, errno);
    }
    std::uint64_t offset = 0;
    for (const MemoryRange& range : ranges) {
        map_region(range, offset);
        offset += range.size;
    }
}

GuestMemory::~GuestMemory() {
    for (const Region& region : regions_) {
        munmap(region.address, region.range.size);
    }
}

void GuestMemory::map_region(const MemoryRange& range, std::uint64_t file_offset) {
    // Address space with one large page to spare, of which the ends that aren't needed go back.
    const std::uint64_t reserved = range.size + large_page;
    void* const space =
        mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) {
        refuse("reserve addresses for", range.size, errno);
    }
    auto* const first = static_cast<std::uint8_t*>(space);
    const std::uint64_t misaligned = reinterpret_cast<std::uint64_t>(first) % large_page;
    std::uint8_t* const wanted = first + (misaligned == 0 ? 0 : large_page - misaligned);
    if (wanted != first) {
        munmap(first, static_cast<std::size_t>(wanted - first));
    }
    munmap(wanted + range.size, static_cast<std::size_t>(first + reserved - (wanted + range.size)));
    if (mmap(wanted, range.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file_.get(),
            static_cast<off_t>(file_offset)) == MAP_FAILED) {
        const int error = errno;
        munmap(wanted, range.size);
        refuse("map", range.size, error);
    }
    // Only advice: a host that has no large pages for files uses small ones.
    madvise(wanted, range.size, MADV_HUGEPAGE);
    // What the guest keeps to itself has no business in the worker's core file.
    madvise(wanted, range.size, MADV_DONTDUMP);
    regions_.push_back({range, wanted, file_offset,
        std::make_unique<std::atomic<std::uint64_t>[]>(words_of(range))});
}

std::optional<GuestMemory::Place> GuestMemory::find(std::uint64_t gpa, std::uint64_t size) const {
    for (const Region& region : regions_) {
        if (gpa >= region.range.start && gpa - region.range.start < region.range.size) {
            const std::uint64_t offset = gpa - region.range.start;
            if (size > region.range.size - offset) {
                return std::nullopt;
            }
            return Place{region.address + offset, offset, region.written.get()};
        }
    }
    return std::nullopt;
}

bool GuestMemory::contains(std::uint64_t gpa, std::uint64_t size) const {
    return find(gpa, size).has_value();
}

std::uint64_t GuestMemory::size() const {
    std::uint64_t total = 0;
    for (const Region& region : regions_) {
        total += region.range.size;
    }
    return total;
}

bool GuestMemory::read(std::uint64_t gpa, std::span<std::uint8_t> bytes) const {
    const auto place = find(gpa, bytes.size());
    if (!place) {
        return false;
    }
    std::memcpy(bytes.data(), place->address, bytes.size());
    return true;
}

bool GuestMemory::write(std::uint64_t gpa, std::span<const std::uint8_t> bytes) {
    const auto place = find(gpa, bytes.size());
    if (!place) {
        return false;
    }
    if (!bytes.empty()) {
        std::memcpy(place->address, bytes.data(), bytes.size());
        note_write(*place, bytes.size());
    }
    return true;
}

/// The bits are set even if they are: whoever takes them in this moment would else miss the write.
void GuestMemory::note_write(const Place& place, std::uint64_t size) {
    const std::uint64_t end = (place.offset + size - 1) / page_size + 1;
    for (std::uint64_t page = place.offset / page_size; page < end;) {
        const std::uint64_t bit = page % pages_per_word;
        const std::uint64_t count = std::min(pages_per_word - bit, end - page);
        const std::uint64_t ones = ~std::uint64_t{0} >> (pages_per_word - count);
        place.written[page / pages_per_word].fetch_or(ones << bit);
        page += count;
    }
}

PageBitmap GuestMemory::take_written(std::size_t range) {
    const Region& region = regions_.at(range);
    PageBitmap result(words_of(region.range));
    for (std::size_t i = 0; i < result.size(); ++i) {
        // Most are clear, and a look is cheaper.
        if (region.written[i].load() != 0) {
            result[i] = region.written[i].exchange(0);
        }
    }
    return result;
}

std::uint8_t* GuestMemory::shared_page(std::uint64_t number) const {
    if (number > ~std::uint64_t{0} / page_size) {
        return nullptr;
    }
    const auto place = find(number * page_size, page_size);
    return place ? place->address : nullptr;
}

void GuestMemory::populate(const MemoryRange& range) {
    const auto place = find(range.start, range.size);
    if (!place) {
        throw SystemError(
            fmt::format("memory: found {:#x} bytes at {:#x} to populate, expected them "
                        "inside the VM's memory; this is a defect of the worker",
                range.size, range.start));
    }
    if (madvise(place->address, range.size, MADV_POPULATE_WRITE) != 0) {
        refuse("get", range.size, errno);
    }
}

void GuestMemory::clear() {
    for (const Region& region : regions_) {
        if (madvise(region.address, region.range.size, MADV_REMOVE) != 0) {
            refuse("clear", region.range.size, errno);
        }
    }
}

vmbus::MemoryFile GuestMemory::file() const {
    vmbus::MemoryFile result{file_.get(), {}};
    for (const Region& region : regions_) {
        result.ranges.push_back({region.range.start, region.range.size, region.file_offset});
    }
    return result;
}

std::vector<hv::MemoryMapping> GuestMemory::mappings() const {
    std::vector<hv::MemoryMapping> result;
    result.reserve(regions_.size());
    for (const Region& region : regions_) {
        result.push_back({region.range.start, region.range.size, region.address, true, true});
    }
    return result;
}

} // namespace croft::worker
