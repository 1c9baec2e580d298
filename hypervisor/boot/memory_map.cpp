// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/boot/memory_map.hpp"

#include <algorithm>

namespace hypervisor {

bool MemoryMap::insert(unsigned position, MemoryRange range) {
    if (range.begin >= range.end) {
        return true;
    }
    if (count_ == capacity) {
        return false;
    }
    for (unsigned i = count_; i > position; --i) {
        ranges_[i] = ranges_[i - 1];
    }
    ranges_[position] = range;
    ++count_;
    return true;
}

void MemoryMap::join_neighbours() {
    unsigned kept = 0;
    for (unsigned i = 1; i < count_; ++i) {
        MemoryRange& last = ranges_[kept];
        if (last.end == ranges_[i].begin && last.type == ranges_[i].type) {
            last.end = ranges_[i].end;
        } else {
            ranges_[++kept] = ranges_[i];
        }
    }
    count_ = count_ == 0 ? 0 : kept + 1;
}

bool MemoryMap::add(std::uint64_t begin, std::uint64_t end, MemoryType type) {
    const bool has_room = merge(begin, end, type);
    join_neighbours();
    return has_room;
}

bool MemoryMap::merge(std::uint64_t begin, std::uint64_t end, MemoryType type) {
    // Piece by piece: what lies before the next range, then where both are.
    unsigned i = 0;
    while (begin < end) {
        while (i < count_ && ranges_[i].end <= begin) {
            ++i;
        }
        if (i == count_ || ranges_[i].begin >= end) {
            return insert(i, {begin, end, type});
        }
        if (begin < ranges_[i].begin) {
            if (!insert(i, {begin, ranges_[i].begin, type})) {
                return false;
            }
            begin = ranges_[++i].begin;
        }
        const MemoryRange old = ranges_[i];
        const std::uint64_t overlap_end = std::min(old.end, end);
        if (type != MemoryType::usable && old.type == MemoryType::usable) {
            if (count_ + 2 > capacity) {
                return false;
            }
            ranges_[i] = {begin, overlap_end, type};
            if (old.begin < begin) {
                insert(i++, {old.begin, begin, old.type});
            }
            insert(i + 1, {overlap_end, old.end, old.type});
        }
        begin = overlap_end;
    }
    return true;
}

std::uint64_t MemoryMap::usable_end() const {
    std::uint64_t end = 0;
    for (const MemoryRange& range : ranges()) {
        end = range.type == MemoryType::usable ? range.end : end;
    }
    return end;
}

std::uint64_t MemoryMap::usable_bytes() const {
    std::uint64_t bytes = 0;
    for (const MemoryRange& range : ranges()) {
        bytes += range.type == MemoryType::usable ? range.end - range.begin : 0;
    }
    return bytes;
}

std::optional<std::uint64_t> MemoryMap::find_highest(
    std::uint64_t size, std::uint64_t alignment, std::uint64_t limit) const {
    for (unsigned i = count_; i > 0; --i) {
        const MemoryRange& range = ranges_[i - 1];
        const std::uint64_t end = std::min(range.end, limit);
        if (range.type != MemoryType::usable || end < size) {
            continue;
        }
        const std::uint64_t begin = (end - size) & ~(alignment - 1);
        if (begin >= range.begin) {
            return begin;
        }
    }
    return std::nullopt;
}

std::optional<std::uint64_t> MemoryMap::find_lowest(
    std::uint64_t size, std::uint64_t alignment, std::uint64_t floor) const {
    for (const MemoryRange& range : ranges()) {
        const std::uint64_t from = std::max(range.begin, floor);
        const std::uint64_t begin = (from + alignment - 1) & ~(alignment - 1);
        const bool wraps_around = begin < from;
        if (range.type == MemoryType::usable && !wraps_around && begin < range.end &&
            range.end - begin >= size) {
            return begin;
        }
    }
    return std::nullopt;
}

} // namespace hypervisor
