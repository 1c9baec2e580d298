// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/guest_pages.hpp"
#include "vmbus/ring/ring_error.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace croft::vmbus {

/// One ring's memory: pages that lie anywhere, the first of which is the header. Offsets are in
/// bytes from the start of the data, multiples of 8, and come round at its end.
class RingMemory {
public:
    /// From page numbers, the header's first. Errors: not_memory, bad_size.
    [[nodiscard]] static RingResult<RingMemory> map(
        std::span<const std::uint64_t> pages, const GuestPages& memory);

    /// Of the data, in bytes.
    [[nodiscard]] std::uint32_t size() const { return size_; }
    /// `offset` plus `bytes`, of which there are at most as many as the ring has.
    [[nodiscard]] std::uint32_t advance(std::uint32_t offset, std::uint32_t bytes) const;
    /// Bytes from `from` forward to `to`.
    [[nodiscard]] std::uint32_t distance(std::uint32_t from, std::uint32_t to) const {
        return to >= from ? to - from : size_ - from + to;
    }
    /// Whether a packet may begin there.
    [[nodiscard]] bool is_index(std::uint32_t value) const;

    /// A field of the header, in the one order that all processors see.
    [[nodiscard]] std::uint32_t load(std::size_t field) const;
    void store(std::size_t field, std::uint32_t value);

    /// Copies out of the data.
    void read(std::uint32_t offset, std::span<std::uint64_t> words) const;
    /// Copies into the data, filled up with zeros to a multiple of 8.
    void write(std::uint32_t offset, std::span<const std::uint8_t> bytes);

private:
    RingMemory(std::uint8_t* header, std::vector<std::uint8_t*> data);

    std::uint8_t* header_;
    std::vector<std::uint8_t*> data_;
    std::uint32_t size_;
};

} // namespace croft::vmbus
