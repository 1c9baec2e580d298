// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/store.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

namespace croft::disk {

// Which parts of a disk were changed since they were last looked at. In bounded memory: a large
// disk is told in larger parts. Any thread may mark; one takes.
class WriteTracker final {
public:
    // All is marked at first.
    explicit WriteTracker(std::uint64_t disk_size)
        : disk_size_{disk_size},
          part_{std::max(part_min, std::bit_ceil(disk_size / parts_max))},
          words_((disk_size + part_ * 64 - 1) / (part_ * 64)) {
        mark(0, disk_size);
    }

    // After the change: who takes the part from now on sees it.
    void mark(std::uint64_t offset, std::uint64_t length) noexcept {
        if (length == 0)
            return;
        for (std::uint64_t i = offset / part_; i <= (offset + length - 1) / part_; ++i)
            words_[i / 64].fetch_or(std::uint64_t{1} << (i % 64));
    }

    // The first marked part at or after `offset`, which is not marked any more.
    std::optional<Store::Range> take(std::uint64_t offset) noexcept {
        for (std::uint64_t i = offset / part_; i < words_.size() * 64;) {
            const std::uint64_t rest = words_[i / 64].load() >> (i % 64);
            if (rest == 0) {
                i = (i / 64 + 1) * 64;
                continue;
            }
            i += static_cast<unsigned>(std::countr_zero(rest));
            words_[i / 64].fetch_and(~(std::uint64_t{1} << (i % 64)));
            return Store::Range{i * part_, std::min(part_, disk_size_ - i * part_)};
        }
        return std::nullopt;
    }

    // Bytes of the disk that are marked, roughly while others mark.
    std::uint64_t marked() const noexcept {
        std::uint64_t parts = 0;
        for (const auto& word : words_)
            parts += static_cast<unsigned>(std::popcount(word.load()));
        return parts * part_;
    }

private:
    static constexpr std::uint64_t part_min = 64U << 10U;
    static constexpr std::uint64_t parts_max = 1U << 20U; // 128 KiB of bits

    std::uint64_t disk_size_;
    std::uint64_t part_; // bytes
    std::vector<std::atomic<std::uint64_t>> words_;
};

} // namespace croft::disk
