// SPDX-License-Identifier: Apache-2.0
#include "vmbus/ring/ring_memory.hpp"

#include "vmbus/memory/shared_copy.hpp"
#include "vmbus/protocol/gpa_range.hpp"
#include "vmbus/protocol/ring.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace croft::vmbus {

using protocol::page_size;

RingResult<RingMemory> RingMemory::map(
    std::span<const std::uint64_t> pages, const GuestPages& memory) {
    // A sum of two offsets must not overflow.
    constexpr std::size_t most = std::numeric_limits<std::int32_t>::max() / page_size;
    if (pages.size() < 2 || pages.size() > most) {
        return std::unexpected(RingError::bad_size);
    }
    std::vector<std::uint8_t*> mapped;
    mapped.reserve(pages.size());
    for (const std::uint64_t page : pages) {
        std::uint8_t* const address = memory.page(page);
        if (address == nullptr) {
            return std::unexpected(RingError::not_memory);
        }
        mapped.push_back(address);
    }
    std::uint8_t* const header = mapped.front();
    mapped.erase(mapped.begin());
    return RingMemory(header, std::move(mapped));
}

RingMemory::RingMemory(std::uint8_t* header, std::vector<std::uint8_t*> data)
    : header_(header),
      data_(std::move(data)),
      size_(static_cast<std::uint32_t>(data_.size()) * page_size) {}

std::uint32_t RingMemory::advance(std::uint32_t offset, std::uint32_t bytes) const {
    const std::uint32_t sum = offset + bytes;
    return sum >= size_ ? sum - size_ : sum;
}

bool RingMemory::is_index(std::uint32_t value) const {
    return value < size_ && value % protocol::ring_granule == 0;
}

std::uint32_t RingMemory::load(std::size_t field) const {
    return load_shared(header_ + field);
}

void RingMemory::store(std::size_t field, std::uint32_t value) {
    store_shared(header_ + field, value);
}

void RingMemory::read(std::uint32_t offset, std::span<std::uint64_t> words) const {
    while (!words.empty()) {
        const std::size_t in_page = (page_size - offset % page_size) / sizeof(std::uint64_t);
        const std::size_t count = std::min(in_page, words.size());
        copy_words_from_shared(words.first(count), data_[offset / page_size] + offset % page_size);
        words = words.subspan(count);
        offset = advance(offset, static_cast<std::uint32_t>(count * sizeof(std::uint64_t)));
    }
}

void RingMemory::write(std::uint32_t offset, std::span<const std::uint8_t> bytes) {
    while (!bytes.empty()) {
        const std::size_t in_page = page_size - offset % page_size;
        const std::size_t count = std::min(in_page, bytes.size());
        copy_to_shared_words(data_[offset / page_size] + offset % page_size, bytes.first(count));
        bytes = bytes.subspan(count);
        // Only the last part can end within a word, and nothing follows it.
        offset = advance(offset, static_cast<std::uint32_t>(count));
    }
}

} // namespace croft::vmbus
