// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/gather.hpp"

#include "vmbus/protocol/gpa_range.hpp"

#include <algorithm>

namespace croft::vsp::network {

void add_segment(std::vector<iovec>& segments, std::uint8_t* start, std::size_t size) {
    if (!segments.empty()) {
        iovec& last = segments.back();
        if (static_cast<std::uint8_t*>(last.iov_base) + last.iov_len == start) {
            last.iov_len += size;
            return;
        }
    }
    segments.push_back({start, size});
}

bool add_range(
    const vmbus::PageRange& range, const vmbus::GuestPages& memory, std::vector<iovec>& segments) {
    std::size_t offset = range.byte_offset;
    std::size_t left = range.byte_count;
    for (const std::uint64_t number : range.pages) {
        std::uint8_t* const page = memory.page(number);
        if (page == nullptr) {
            return false;
        }
        const std::size_t size = std::min(left, vmbus::protocol::page_size - offset);
        if (size != 0) {
            add_segment(segments, page + offset, size);
        }
        left -= size;
        offset = 0;
    }
    return left == 0;
}

std::size_t size_of(std::span<const iovec> segments) {
    std::size_t size = 0;
    for (const iovec& segment : segments) {
        size += segment.iov_len;
    }
    return size;
}

template <typename Function>
void Cursor::advance(std::size_t size, const Function& function) {
    left_ -= size;
    while (size != 0) {
        const iovec& segment = segments_.front();
        const std::size_t part = std::min(size, segment.iov_len - offset_);
        if (part != 0) {
            function(static_cast<std::uint8_t*>(segment.iov_base) + offset_, part);
        }
        size -= part;
        offset_ += part;
        if (offset_ == segment.iov_len) {
            segments_ = segments_.subspan(1);
            offset_ = 0;
        }
    }
}

void Cursor::skip(std::size_t size) {
    advance(size, [](const std::uint8_t*, std::size_t) {});
}

void Cursor::copy(std::span<std::uint8_t> bytes) {
    auto to = bytes.begin();
    advance(bytes.size(), [&](const std::uint8_t* from, std::size_t size) {
        for (std::size_t i = 0; i < size; ++i) {
            *to++ = __atomic_load_n(from + i, __ATOMIC_RELAXED);
        }
    });
}

void Cursor::take(std::size_t size, std::vector<iovec>& segments) {
    advance(
        size, [&](std::uint8_t* start, std::size_t part) { add_segment(segments, start, part); });
}

} // namespace croft::vsp::network
