// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace hypervisor {

/// What a walk through a guest's page tables led through, where the hypervisor sees it. As long as
/// the same stands there, the same walk would end at the same place. For long mode with four
/// levels.
struct WalkTrace {
    using Word = std::atomic<std::uint64_t>;
    static constexpr std::size_t levels = 4;

    std::array<const Word*, levels> entries{}; ///< from the top
    std::array<std::uint64_t, levels> values{};
    unsigned depth = 0;

    /// The guest has gone to other tables, which are the same below where kernels are concerned.
    /// \param top_entry where the entry at a GPA lies, or null. \return false if it is.
    template <class TopEntry>
    [[nodiscard]] bool follow(std::uint64_t cr3, std::uint64_t address, TopEntry&& top_entry) {
        const std::uint64_t table = cr3 & 0x000ffffffffff000;
        const Word* const top = top_entry(table + ((address >> 39) & 0x1ff) * sizeof(Word));
        entries[0] = top != nullptr ? top : entries[0];
        return top != nullptr;
    }

    /// Of a walk that has ended early, in a large page: there are as many to compare all the same.
    void fill_up() {
        for (unsigned i = depth; i < levels; ++i) {
            entries[i] = entries[depth - 1];
            values[i] = values[depth - 1];
        }
    }

    /// Once it is filled up.
    [[nodiscard, gnu::always_inline]] bool is_as_it_was() const {
        const auto is_same = [this](unsigned level) {
            return entries[level]->load(std::memory_order_relaxed) == values[level];
        };
        static_assert(levels == 4);
        return is_same(0) && is_same(1) && is_same(2) && is_same(3);
    }
};

} // namespace hypervisor
