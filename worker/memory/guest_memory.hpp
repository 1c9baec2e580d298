// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/partition.hpp"
#include "worker/file_descriptor.hpp"
#include "worker/memory/layout.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

namespace croft::worker {

/// Told of each write that the worker does to guest memory, for a dirty log: the hypervisor sees
/// only what the guest writes.
using WriteHook = std::function<void(std::uint64_t gpa, std::uint64_t size)>;

/// A VM's memory. It lives in one anonymous shared file, so that it can be handed to another
/// process; its pages come when they are first touched. Everything in it may change at any moment,
/// since the guest runs: so access copies, once, and nothing here hands out a pointer but
/// `mappings`, for the hypervisor. Any thread.
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
        const std::uint8_t* place = gpa % sizeof(T) == 0 ? find(gpa, sizeof(T)) : nullptr;
        if (place == nullptr) {
            return std::nullopt;
        }
        T value;
        __atomic_load(
            static_cast<const T*>(static_cast<const void*>(place)), &value, __ATOMIC_ACQUIRE);
        return value;
    }

    /// The same the other way; answers false if it can't be done.
    template <typename T>
    requires(std::is_unsigned_v<T> && sizeof(T) <= 8)
        [[nodiscard]] bool store(std::uint64_t gpa, T value) {
        std::uint8_t* place = gpa % sizeof(T) == 0 ? find(gpa, sizeof(T)) : nullptr;
        if (place == nullptr) {
            return false;
        }
        __atomic_store(static_cast<T*>(static_cast<void*>(place)), &value, __ATOMIC_RELEASE);
        note_write(gpa, sizeof(T));
        return true;
    }

    /// Brings the pages of a range into memory now. Errors: SystemError if there aren't enough.
    void populate(const MemoryRange& range);

    /// Gives all pages back; everything reads as zero then. Only while no partition maps them.
    void clear();

    /// Null ends it. Only while nobody writes.
    void set_write_hook(WriteHook hook) { write_hook_ = std::move(hook); }

    /// What to map into a partition.
    [[nodiscard]] std::vector<hv::MemoryMapping> mappings() const;

private:
    struct Region {
        MemoryRange range;
        std::uint8_t* address;
        std::uint64_t file_offset;
    };

    [[nodiscard]] std::uint8_t* find(std::uint64_t gpa, std::uint64_t size) const;
    void note_write(std::uint64_t gpa, std::uint64_t size) const;
    void map_region(const MemoryRange& range, std::uint64_t file_offset);

    FileDescriptor file_;
    std::vector<Region> regions_;
    WriteHook write_hook_;
};

} // namespace croft::worker
