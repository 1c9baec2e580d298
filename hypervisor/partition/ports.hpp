// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "abi/port.h"
#include "hypervisor/cpu/spin_lock.hpp"
#include "hypervisor/memory/page_pool.hpp"

#include <cstdint>
#include <optional>

namespace hypervisor {

/// A doorbell: a write of the child to an address, or its HvSignalEvent on the connection that the
/// address in the signal window stands for, puts the port's id into an event ring of the root.
struct Doorbell {
    std::uint64_t gpa = 0;
    std::uint64_t trigger_value = 0;
    std::uint64_t flags = 0;
    std::uint32_t port_id = 0;
    std::uint32_t connection_id = 0;
    std::uint32_t target_vp = 0;
    std::uint8_t target_sint = 0;
    bool in_use = false;
    bool waiting = false; ///< it rang while the ring was full

    [[nodiscard]] bool matches_write(
        std::uint64_t address, unsigned size, std::uint64_t value) const;
};

/// A port of the root for which no connection has been made yet.
struct Port {
    std::uint32_t id = 0;
    std::uint32_t target_vp = 0;
    std::uint64_t connection_partition = 0;
    std::uint8_t target_sint = 0;
    bool in_use = false;
};

/// Fixed-size entries in pages of a pool, found by walking; the tables are small and walked rarely:
/// doorbells on a write to unmapped memory or a signal, ports when one is made or connected.
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
    };
    static_assert(sizeof(Block) <= page_size);

    Block* first_ = nullptr;
};

/// The ports of a partition, and the connections that are doorbells of it.
struct PortTable {
    SpinLock lock{};
    PagedTable<Port> ports{};
    PagedTable<Doorbell> doorbells{};

    Doorbell* find_doorbell(std::uint64_t gpa) {
        return doorbells.find([gpa](const Doorbell& d) { return d.in_use && d.gpa == gpa; });
    }
    Port* find_port(std::uint32_t id) {
        return ports.find([id](const Port& p) { return p.in_use && p.id == id; });
    }
};

} // namespace hypervisor
