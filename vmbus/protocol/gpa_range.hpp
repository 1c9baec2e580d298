// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// Ranges of guest memory that are contiguous for the guest, page by page anywhere in its physical
// memory (Linux, include/linux/hyperv.h, struct gpa_range).
namespace croft::vmbus::protocol {

constexpr std::uint32_t page_size = 4096;
constexpr unsigned page_shift = 12;

/// Followed by the page numbers (64 bits each) of the pages that the range touches.
struct GpaRangeHeader {
    std::uint32_t byte_count;
    /// In the first page.
    std::uint32_t byte_offset;
};
static_assert(sizeof(GpaRangeHeader) == 8);

/// How many pages, and so how many page numbers, a range has.
constexpr std::uint64_t pages_of(std::uint32_t byte_count, std::uint32_t byte_offset) {
    return (std::uint64_t{byte_count} + byte_offset + page_size - 1) / page_size;
}

} // namespace croft::vmbus::protocol
