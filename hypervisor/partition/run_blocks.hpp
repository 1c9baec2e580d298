// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/intrinsics.hpp"

#include <atomic>
#include <cstdint>

namespace hypervisor {

/// Why a virtual processor that is otherwise ready does not run: one word, so that no moment lies
/// between a reason and its effect. From any LP.
class RunBlocks final {
public:
    enum Block : std::uint32_t {
        explicit_suspend = 1u << 0,  ///< its parent has suspended it
        intercept_suspend = 1u << 1, ///< its parent has an intercept to handle
        dispatch_suspend = 1u << 2,  ///< the root has taken it off for good
        held = 1u << 3,              ///< somebody looks at its state
        waiting = 1u << 4,           ///< halted or not started: an event ends it
        removed = 1u << 5,           ///< it is being destroyed
        time_stopped = 1u << 6,      ///< its partition's time stands still
    };

    [[nodiscard]] std::uint32_t all() const { return word_.load(std::memory_order_seq_cst); }
    /// Whether something forbids it to run that no event ends.
    [[nodiscard]] bool forbid() const { return (all() & ~std::uint32_t{waiting}) != 0; }

    void set(Block block) { word_.fetch_or(block, std::memory_order_seq_cst); }
    void clear(Block block) { word_.fetch_and(~std::uint32_t{block}, std::memory_order_seq_cst); }

    /// The block `held` is a lock as well: one holds at a time, and until it lets go.
    void hold() {
        while ((word_.fetch_or(held, std::memory_order_seq_cst) & held) != 0) {
            pause();
        }
    }
    void let_go() { clear(held); }

private:
    std::atomic<std::uint32_t> word_{0};
};

} // namespace hypervisor
