// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <sys/uio.h>
#include <vector>

namespace croft::disk {

inline std::uint64_t total_length(std::span<const iovec> segments) {
    std::uint64_t total = 0;
    for (const iovec& segment : segments)
        total += segment.iov_len;
    return total;
}

// Calls visit(iovec) for each piece of `length` bytes that begin `skip` bytes into the segments.
template <class Visit>
void for_each_piece(
    std::span<const iovec> segments, std::uint64_t skip, std::uint64_t length, Visit&& visit) {
    for (const iovec& segment : segments) {
        if (length == 0)
            return;
        if (skip >= segment.iov_len) {
            skip -= segment.iov_len;
            continue;
        }
        const std::uint64_t take = std::min<std::uint64_t>(segment.iov_len - skip, length);
        visit(iovec{
            static_cast<std::byte*>(segment.iov_base) + skip, static_cast<std::size_t>(take)});
        skip = 0;
        length -= take;
    }
}

inline void zero_segments(
    std::span<const iovec> segments, std::uint64_t skip, std::uint64_t length) {
    for_each_piece(segments, skip, length,
        [](const iovec& piece) { std::memset(piece.iov_base, 0, piece.iov_len); });
}

} // namespace croft::disk
