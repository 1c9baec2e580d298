// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/memory/address.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace hypervisor {

/// The machine's memory map, with the types of the BIOS's E820 call (ACPI 6.4, 15.1).
enum class MemoryType : std::uint32_t { usable = 1, reserved = 2, acpi = 3, nvs = 4, unusable = 5 };

struct MemoryRange {
    std::uint64_t begin = 0;
    std::uint64_t end = 0; ///< first address behind
    MemoryType type = MemoryType::reserved;
};

/// Ranges in ascending order that do not overlap, and of which no two that touch have one type.
/// Where the firmware's overlap, the less usable type wins.
class MemoryMap final {
public:
    static constexpr unsigned capacity = 128;

    /// \return false if there is no room for another range.
    bool add(std::uint64_t begin, std::uint64_t end, MemoryType type);
    /// Cuts a range out of the usable memory and gives it a type.
    bool reserve(std::uint64_t begin, std::uint64_t end) {
        return add(begin, end, MemoryType::reserved);
    }

    [[nodiscard]] std::span<const MemoryRange> ranges() const { return {ranges_.data(), count_}; }
    /// First address behind the last usable byte.
    [[nodiscard]] std::uint64_t usable_end() const;
    [[nodiscard]] std::uint64_t usable_bytes() const;
    /// Begin of the highest usable range of `size` bytes below `limit`, aligned to `alignment`.
    [[nodiscard]] std::optional<std::uint64_t> find_highest(
        std::uint64_t size, std::uint64_t alignment, std::uint64_t limit) const;
    /// Begin of the lowest usable range of `size` bytes at or above `floor`, aligned.
    [[nodiscard]] std::optional<std::uint64_t> find_lowest(
        std::uint64_t size, std::uint64_t alignment, std::uint64_t floor) const;

private:
    bool merge(std::uint64_t begin, std::uint64_t end, MemoryType type);
    bool insert(unsigned position, MemoryRange range);
    void join_neighbours();

    std::array<MemoryRange, capacity> ranges_{};
    unsigned count_ = 0;
};

} // namespace hypervisor
