// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/guest_pages.hpp"

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace croft::vmbus {

/// A range of guest physical memory and where it is in the file that holds it. All in bytes,
/// multiples of 4096.
struct MemoryFileRange {
    std::uint64_t start = 0;
    std::uint64_t size = 0;
    std::uint64_t file_offset = 0;

    friend bool operator==(const MemoryFileRange&, const MemoryFileRange&) = default;
};

/// Guest memory as a file descriptor and its layout: what is handed to another process.
struct MemoryFile {
    /// Stays the giver's.
    int file = -1;
    std::vector<MemoryFileRange> ranges;
};

/// Guest memory mapped from a file that another process has given. It trusts neither the layout nor
/// the file's size.
class MappedMemory final : public GuestPages {
public:
    /// Errors: one line that says what is wrong with the layout, or that it can't be mapped.
    [[nodiscard]] static std::expected<std::unique_ptr<MappedMemory>, std::string> map(
        int file, std::span<const MemoryFileRange> ranges);
    ~MappedMemory() override;

    [[nodiscard]] std::uint8_t* page(std::uint64_t page) const override;

private:
    struct Region {
        std::uint64_t first_page;
        std::uint64_t page_count;
        std::uint8_t* address;
    };

    MappedMemory() = default;

    std::vector<Region> regions_;
};

} // namespace croft::vmbus
