// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/memory/page_pool.hpp"

#include <cstdint>

namespace hypervisor {

/// The hypervisor's own address space: all memory where it is. Code can't be written, nothing else
/// can be executed, page 0 is not there.
class HostMap final {
public:
    /// Builds the tables. \param end first address that need not be mapped.
    /// \return false if the pool runs out of pages.
    bool build(PagePool& pool, std::uint64_t end);
    /// Takes one page out of it; not from what other processors may have used.
    /// \return false if the pool runs out of pages.
    bool hide(PagePool& pool, std::uint64_t address);
    /// Switches this processor to it.
    void load() const;

private:
    using Entry = std::uint64_t;
    Entry* table(Entry& entry, PagePool& pool);
    bool map(PagePool& pool, std::uint64_t address, bool large, Entry flags);

    Entry root_ = 0;
};

} // namespace hypervisor
