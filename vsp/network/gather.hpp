// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/guest_pages.hpp"
#include "vmbus/ring/packet.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <sys/uio.h>
#include <vector>

namespace croft::vsp::network {

/// Adds `size` bytes at `start` to `segments`, neighbours as one.
void add_segment(std::vector<iovec>& segments, std::uint8_t* start, std::size_t size);

/// Adds a range of guest memory. False if some of it isn't memory of the guest.
[[nodiscard]] bool add_range(
    const vmbus::PageRange& range, const vmbus::GuestPages& memory, std::vector<iovec>& segments);

[[nodiscard]] std::size_t size_of(std::span<const iovec> segments);

/// Goes once from the start of pieces of memory to their end. The memory is the guest's, which may
/// write at the same time: each byte is read once, by whoever reads it.
class Cursor {
public:
    /// `segments` stay as they are meanwhile.
    explicit Cursor(std::span<const iovec> segments)
        : segments_(segments),
          left_(size_of(segments)) {}

    [[nodiscard]] std::size_t left() const { return left_; }

    // There is as much left.
    void skip(std::size_t size);
    void copy(std::span<std::uint8_t> bytes);
    /// Adds what comes next to `segments`.
    void take(std::size_t size, std::vector<iovec>& segments);

private:
    template <typename Function>
    void advance(std::size_t size, const Function& function);

    std::span<const iovec> segments_;
    /// In the first of them.
    std::size_t offset_ = 0;
    std::size_t left_;
};

} // namespace croft::vsp::network
