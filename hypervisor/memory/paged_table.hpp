// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/memory/page_pool.hpp"

#include <algorithm>

namespace hypervisor {

/// Fixed-size entries in pages of a pool, found by walking; for tables that are small and walked
/// rarely. An entry has `in_use`.
template <class T>
class PagedTable final {
public:
    constexpr PagedTable() = default;

    /// \return a free entry, set in use, or null if the pool is empty.
    T* add(PagePool& pool) {
        T* const free = find([](T& entry) { return !entry.in_use; });
        if (free != nullptr) {
            *free = T{};
            free->in_use = true;
            return free;
        }
        const auto page = pool.allocate();
        if (!page) {
            return nullptr;
        }
        auto* const block = pointer_to<Block>(*page);
        for (T& entry : block->entries) {
            entry = T{};
        }
        block->next = first_;
        first_ = block;
        block->entries[0].in_use = true;
        return &block->entries[0];
    }

    /// The first entry that `matches`, in use or not, or null.
    template <class F>
    T* find(F&& matches) {
        for (Block* block = first_; block != nullptr; block = block->next) {
            for (T& entry : block->entries) {
                if (matches(entry)) {
                    return &entry;
                }
            }
        }
        return nullptr;
    }

    /// Sets an entry free, and its page with the last one that is in use there.
    void remove(T& entry, PagePool& pool) {
        entry = T{};
        Block** link = &first_;
        while (!(*link)->has(entry)) {
            link = &(*link)->next;
        }
        Block* const block = *link;
        if (std::ranges::none_of(block->entries, &T::in_use)) {
            *link = block->next;
            pool.free(spa_page_of(block));
        }
    }

    void release(PagePool& pool) {
        while (first_ != nullptr) {
            Block* const block = first_;
            first_ = block->next;
            pool.free(spa_page_of(block));
        }
    }

private:
    struct Block {
        static constexpr unsigned count = (page_size - sizeof(void*)) / sizeof(T);
        Block* next;
        T entries[count];

        [[nodiscard]] bool has(const T& entry) const {
            return spa_page_of(&entry) == spa_page_of(this);
        }
    };
    static_assert(sizeof(Block) <= page_size);

    Block* first_ = nullptr;
};

} // namespace hypervisor
