// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/spin_lock.hpp"
#include "hypervisor/memory/slat.hpp"

#include <cstdint>

namespace hypervisor {

/// The way of pages from the root to the partitions that they are deposited for, and back: what the
/// records say and what the root's map shows change together. The caller flushes TLBs before a page
/// that was taken is used.
class RootPages final {
public:
    /// \param lock that of the root's space.
    RootPages(PageRecords& records, Slat& root, SpinLock& lock)
        : records_{records},
          root_{root},
          lock_{lock} {}

    /// Takes a page of the root for the partition of that slot. \return false if it is not the
    /// root's to give, or is in use; then it stays as it is.
    [[nodiscard]] bool take(SpaPage page, std::uint16_t owner);
    /// Takes `count` pages, `page_of(0)` first, or none of them.
    template <class F>
    [[nodiscard]] bool take_all(unsigned count, F&& page_of, std::uint16_t owner) {
        unsigned taken = 0;
        while (taken < count && take(page_of(taken), owner)) {
            ++taken;
        }
        if (taken == count) {
            return true;
        }
        while (taken > 0) {
            give_back_unused(page_of(--taken));
        }
        return false;
    }
    /// Gives a page back, filled with zeros.
    void give_back(SpaPage page);

private:
    void give_back_unused(SpaPage page);

    PageRecords& records_;
    Slat& root_;
    SpinLock& lock_;
};

} // namespace hypervisor
