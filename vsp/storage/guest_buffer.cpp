// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/guest_buffer.hpp"

#include "vmbus/protocol/gpa_range.hpp"

#include <algorithm>

namespace croft::vsp::storage {

bool map_range(const vmbus::PageRange& range, std::uint32_t length, const vmbus::GuestPages& memory,
    std::vector<iovec>& segments) {
    segments.clear();
    std::size_t offset = range.byte_offset;
    std::size_t left = length;
    for (const std::uint64_t number : range.pages) {
        if (left == 0) {
            break;
        }
        std::uint8_t* const page = memory.page(number);
        if (page == nullptr) {
            return false;
        }
        std::uint8_t* const start = page + offset;
        const std::size_t size = std::min(left, vmbus::protocol::page_size - offset);
        if (!segments.empty() &&
            static_cast<std::uint8_t*>(segments.back().iov_base) + segments.back().iov_len ==
                start) {
            segments.back().iov_len += size;
        } else {
            segments.push_back({start, size});
        }
        left -= size;
        offset = 0;
    }
    return left == 0;
}

void shorten(std::vector<iovec>& segments, std::size_t length) {
    auto segment = segments.begin();
    for (; length != 0; ++segment) {
        segment->iov_len = std::min(segment->iov_len, length);
        length -= segment->iov_len;
    }
    segments.erase(segment, segments.end());
}

void copy_from_guest(std::span<const iovec> segments, std::span<std::uint8_t> bytes) {
    auto to = bytes.begin();
    for (const iovec& segment : segments) {
        const auto* from = static_cast<const std::uint8_t*>(segment.iov_base);
        for (std::size_t i = 0; i < segment.iov_len && to != bytes.end(); ++i) {
            // Once: the guest may write at the same time.
            *to++ = __atomic_load_n(from + i, __ATOMIC_RELAXED);
        }
    }
}

bool is_equal(
    std::span<const iovec> segments, std::size_t offset, std::span<const std::uint8_t> bytes) {
    for (const iovec& segment : segments) {
        const std::size_t skipped = std::min(offset, segment.iov_len);
        const std::size_t count = std::min(segment.iov_len - skipped, bytes.size());
        offset -= skipped;
        const auto* const data = static_cast<const std::uint8_t*>(segment.iov_base) + skipped;
        if (!std::equal(data, data + count, bytes.begin())) {
            return false;
        }
        bytes = bytes.subspan(count);
    }
    return bytes.empty();
}

void copy_to_guest(std::span<const iovec> segments, std::span<const std::uint8_t> bytes) {
    for (const iovec& segment : segments) {
        const auto part = bytes.first(std::min(segment.iov_len, bytes.size()));
        std::ranges::copy(part, static_cast<std::uint8_t*>(segment.iov_base));
        bytes = bytes.subspan(part.size());
        if (bytes.empty()) {
            return;
        }
    }
}

} // namespace croft::vsp::storage
