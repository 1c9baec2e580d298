// SPDX-License-Identifier: Apache-2.0
#include "disk/space.hpp"

#include <algorithm>

namespace croft::disk {

bool Space::has_room(std::uint64_t length) const {
    const auto free = free_.find(length);
    return (free != free_.end() && !free->second.empty()) || next() + length <= limit_;
}

std::optional<std::uint64_t> Space::take(std::uint64_t length) {
    if (const auto free = free_.find(length); free != free_.end() && !free->second.empty()) {
        const std::uint64_t offset = free->second.back();
        free->second.pop_back();
        return offset;
    }
    const std::uint64_t offset = next();
    if (offset + length > limit_)
        return std::nullopt;
    end_ = offset + length;
    return offset;
}

void Space::commit_done(std::vector<Range> ranges, bool durable) {
    if (ranges.empty())
        return;
    if (durable)
        retired_.push_back({epoch_, std::move(ranges)});
    else
        given_up_.insert(given_up_.end(), ranges.begin(), ranges.end());
}

// I/O that began in epoch n is over once epoch n + 1 could be closed: the epoch moves on only while
// the other counter is at rest, so at n + 2 nothing of n is left.
std::vector<Store::Range> Space::collect(std::size_t most) {
    for (int step = 0; step < 2 && in_flight_[(epoch_ + 1) & 1U] == 0; ++step)
        ++epoch_;
    std::vector<Range> ranges;
    while (!retired_.empty() && epoch_ - retired_.front().epoch >= 2 && ranges.size() < most) {
        std::vector<Range>& front = retired_.front().ranges;
        const auto first =
            front.end() - static_cast<std::ptrdiff_t>(std::min(front.size(), most - ranges.size()));
        ranges.insert(ranges.end(), first, front.end());
        front.erase(first, front.end());
        if (front.empty())
            retired_.pop_front();
    }
    return ranges;
}

void Space::reuse(const std::vector<Range>& ranges) {
    for (const Range& range : ranges)
        free_[range.length].push_back(range.offset);
}

} // namespace croft::disk
