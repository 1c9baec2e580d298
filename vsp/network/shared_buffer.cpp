// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/shared_buffer.hpp"

#include "vmbus/protocol/gpa_range.hpp"
#include "vsp/network/gather.hpp"

#include <algorithm>
#include <cstring>

namespace croft::vsp::network {

using vmbus::protocol::page_size;

std::shared_ptr<const SharedBuffer> SharedBuffer::map(
    const vmbus::Gpadl& gpadl, const vmbus::GuestPages& memory, std::uint32_t section_size) {
    if (gpadl.ranges.size() != 1) {
        return nullptr;
    }
    const vmbus::GpadlRange& range = gpadl.ranges.front();
    std::shared_ptr<SharedBuffer> made(new SharedBuffer);
    made->gpadl_ = gpadl.id;
    made->start_ = range.byte_offset;
    made->section_size_ = section_size;
    made->section_count_ = range.byte_count / section_size;
    made->pages_.reserve(range.pages.size());
    for (const std::uint64_t number : range.pages) {
        std::uint8_t* const page = memory.page(number);
        if (page == nullptr) {
            return nullptr;
        }
        made->pages_.push_back(page);
    }
    return made->section_count_ != 0 ? made : nullptr;
}

template <typename Function>
void SharedBuffer::visit(
    std::uint32_t section, std::size_t offset, std::size_t size, const Function& function) const {
    std::size_t at = start_ + std::size_t{section} * section_size_ + offset;
    while (size != 0) {
        const std::size_t part = std::min(size, page_size - at % page_size);
        function(pages_[at / page_size] + at % page_size, part);
        at += part;
        size -= part;
    }
}

void SharedBuffer::add(std::uint32_t section, std::size_t offset, std::size_t size,
    std::vector<iovec>& segments) const {
    visit(section, offset, size,
        [&](std::uint8_t* start, std::size_t part) { add_segment(segments, start, part); });
}

void SharedBuffer::write(
    std::uint32_t section, std::size_t offset, std::span<const std::uint8_t> bytes) const {
    visit(section, offset, bytes.size(), [&](std::uint8_t* to, std::size_t part) {
        std::memcpy(to, bytes.data(), part);
        bytes = bytes.subspan(part);
    });
}

std::uint8_t SharedBuffer::byte(std::uint32_t section, std::size_t offset) const {
    std::uint8_t value = 0;
    visit(section, offset, 1, [&](const std::uint8_t* place, std::size_t) {
        value = __atomic_load_n(place, __ATOMIC_RELAXED);
    });
    return value;
}

} // namespace croft::vsp::network
