// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace croft::worker {

inline constexpr std::uint64_t kibibyte = 1024;
inline constexpr std::uint64_t mebibyte = 1024 * kibibyte;
inline constexpr std::uint64_t gibibyte = 1024 * mebibyte;

/// A range of guest physical addresses.
struct MemoryRange {
    std::uint64_t start = 0;
    std::uint64_t size = 0;

    [[nodiscard]] std::uint64_t end() const { return start + size; }
    friend bool operator==(const MemoryRange&, const MemoryRange&) = default;
};

/// What a range of guest physical addresses is for, with the numbers of the e820 map
/// (ACPI 6.5, 15.1).
enum class MemoryType : std::uint32_t { usable = 1, reserved = 2 };

struct MemoryMapEntry {
    MemoryRange range;
    MemoryType type = MemoryType::usable;
};

/// Where things stand in a VM's address space.
///
///     0                     usable, with the worker's boot structures below 0x9fc00
///     0xa0000               reserved; memory, so that nobody traps who looks for firmware there
///     0xe0000               ACPI tables
///     1 MiB                 usable: kernel, initial RAM disk
///     3 GiB                 devices, I/O APIC at 0xfec00000, local APICs at 0xfee00000
///     4 GiB                 usable: what doesn't fit below 3 GiB
class MemoryLayout {
public:
    static constexpr std::uint64_t low_end = 3 * gibibyte;
    static constexpr std::uint64_t high_start = 4 * gibibyte;
    static constexpr std::uint64_t smallest = 2 * mebibyte;
    static constexpr std::uint64_t largest = 512 * gibibyte;

    static constexpr std::uint64_t base_memory_end = 0x9fc00;
    static constexpr std::uint64_t acpi_address = 0xe0000;
    static constexpr std::uint64_t acpi_size = 0x20000;
    static constexpr std::uint64_t extended_start = 0x100000;

    /// `size` is the VM's memory in bytes. Errors: SettingsError if it isn't a multiple of 2 MiB
    /// between `smallest` and `largest`.
    explicit MemoryLayout(std::uint64_t size);

    /// The ranges that are memory, lowest first.
    [[nodiscard]] const std::vector<MemoryRange>& ranges() const { return ranges_; }
    /// The end of the memory below 4 GiB.
    [[nodiscard]] std::uint64_t low_memory_end() const { return ranges_.front().end(); }
    /// What the guest is told about its memory, lowest first.
    [[nodiscard]] std::vector<MemoryMapEntry> map() const;

private:
    std::vector<MemoryRange> ranges_;
};

} // namespace croft::worker
