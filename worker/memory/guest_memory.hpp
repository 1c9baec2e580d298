// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/partition.hpp"
#include "vmbus/memory/mapped_memory.hpp"
#include "worker/file_descriptor.hpp"
#include "worker/memory/layout.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

namespace croft::worker {

/// One bit for each page of 4 KiB from a range's beginning, lowest first.
using PageBitmap = std::vector<std::uint64_t>;
constexpr std::uint64_t pages_per_word = 64;

/// A VM's memory. It lives in one anonymous shared file, so that it can be handed to another
/// process, and whose size is sealed, so that such a process needn't fear for what it maps; its
/// pages come when they are first touched. Everything in it may change at any moment, since the
/// guest runs: so access copies, once. Pointers are handed out only to those who share the memory
/// with the guest: `mappings` for the hypervisor, `shared_page` for VMBus. Any thread.
class GuestMemory {
public:
    /// Errors: SystemError if the address space can't be had.
    explicit GuestMemory(const std::vector<MemoryRange>& ranges);
    ~GuestMemory();
    GuestMemory(const GuestMemory&) = delete;
    GuestMemory& operator=(const GuestMemory&) = delete;

    /// Whether all bytes from `gpa` are memory of the VM, in one range.
    [[nodiscard]] bool contains(std::uint64_t gpa, std::uint64_t size) const;
    [[nodiscard]] std::uint64_t size() const;

    /// Copies out. Answers false, having copied nothing, if not all of it is memory.
    [[nodiscard]] bool read(std::uint64_t gpa, std::span<std::uint8_t> bytes) const;
    /// Copies in. Answers false, having copied nothing, if not all of it is memory.
    [[nodiscard]] bool write(std::uint64_t gpa, std::span<const std::uint8_t> bytes);

    /// One value of up to 8 bytes at an address that is a multiple of its size, in one access.
    template <typename T>
    requires(std::is_unsigned_v<T> && sizeof(T) <= 8)
        [[nodiscard]] std::optional<T> load(std::uint64_t gpa) const {
        const auto place = gpa % sizeof(T) == 0 ? find(gpa, sizeof(T)) : std::nullopt;
        if (!place) {
            return std::nullopt;
        }
        T value;
        const void* const at = place->address;
        __atomic_load(static_cast<const T*>(at), &value, __ATOMIC_ACQUIRE);
        return value;
    }

    /// The same the other way; answers false if it can't be done.
    template <typename T>
    requires(std::is_unsigned_v<T> && sizeof(T) <= 8)
        [[nodiscard]] bool store(std::uint64_t gpa, T value) {
        const auto place = gpa % sizeof(T) == 0 ? find(gpa, sizeof(T)) : std::nullopt;
        if (!place) {
            return false;
        }
        void* const at = place->address;
        __atomic_store(static_cast<T*>(at), &value, __ATOMIC_RELEASE);
        note_write(*place, sizeof(T));
        return true;
    }

    /// The page of 4 KiB with that number, for as long as this object lives; null if it isn't
    /// memory of the VM. What is written through the pointer isn't noted for `take_written`.
    [[nodiscard]] std::uint8_t* shared_page(std::uint64_t number) const;

    /// Brings the pages of a range into memory now. Errors: SystemError if there aren't enough.
    void populate(const MemoryRange& range);

    /// Gives all pages back; everything reads as zero then. Only while no partition maps them.
    void clear();

    /// Which pages of a range the worker has written since it was last asked. Each write is noted
    /// after it is done: what is seen in the bitmap is there to be read. Writes by `shared_page`
    /// aren't. The hypervisor sees only what the guest writes; DirtyLog unites the two.
    [[nodiscard]] PageBitmap take_written(std::size_t range);
    [[nodiscard]] std::size_t range_count() const { return regions_.size(); }
    [[nodiscard]] const MemoryRange& range(std::size_t index) const {
        return regions_[index].range;
    }

    /// What to hand to a process that shares the memory. The file stays this object's.
    [[nodiscard]] vmbus::MemoryFile file() const;

    /// What to map into a partition.
    [[nodiscard]] std::vector<hv::MemoryMapping> mappings() const;

private:
    struct Region {
        MemoryRange range;
        std::uint8_t* address;
        std::uint64_t file_offset;
        /// A bit for each page that the worker has written.
        std::unique_ptr<std::atomic<std::uint64_t>[]> written;
    };

    /// Memory of the VM in this process.
    struct Place {
        std::uint8_t* address;
        std::uint64_t offset; ///< in its range
        std::atomic<std::uint64_t>* written;
    };

    [[nodiscard]] std::optional<Place> find(std::uint64_t gpa, std::uint64_t size) const;
    static void note_write(const Place& place, std::uint64_t size);
    void map_region(const MemoryRange& range, std::uint64_t file_offset);

    FileDescriptor file_;
    std::vector<Region> regions_;
};

} // namespace croft::worker
