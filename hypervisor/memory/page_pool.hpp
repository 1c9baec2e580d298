// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/spin_lock.hpp"
#include "hypervisor/memory/address.hpp"

#include <cstdint>
#include <optional>

namespace hypervisor {

/// Pages that the hypervisor may spend on one partition: those deposited for it, or for the root
/// those reserved at boot. Free pages are linked through their own first word.
class PagePool final {
public:
    struct Balance {
        std::uint64_t free;
        std::uint64_t total;
    };

    constexpr PagePool() = default;

    /// Adds a page to what the pool has.
    void add(SpaPage page);
    /// Takes a free page out of what the pool has.
    [[nodiscard]] std::optional<SpaPage> remove();

    /// \return a page filled with zeros, or nothing if none is free.
    [[nodiscard]] std::optional<SpaPage> allocate();
    void free(SpaPage page);

    [[nodiscard]] Balance balance() const;

private:
    struct FreePage {
        FreePage* next;
    };

    void push(SpaPage page);
    [[nodiscard]] std::optional<SpaPage> pop();

    mutable SpinLock lock_{};
    FreePage* first_ = nullptr;
    std::uint64_t free_ = 0;
    std::uint64_t total_ = 0;
};

/// Fills a page with zeros.
void clear_page(SpaPage page);

} // namespace hypervisor
