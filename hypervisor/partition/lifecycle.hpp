// SPDX-License-Identifier: Apache-2.0
// How partitions and virtual processors come and go, and what pages they take with them.
#pragma once

#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <expected>

namespace hypervisor {

class LogicalProcessor;

namespace lifecycle {

/// Makes a child partition out of two pages of `payer`.
std::expected<Partition*, Status> create_partition(Partition& payer, std::uint64_t creation_flags);
/// Gives it an address space.
Status initialize(Partition& partition);
/// Takes everything from it: its virtual processors, what is mapped, its ports. What that cost is
/// free in its deposits afterwards. \return false if that has been done, or is being done, or it
/// hasn't been initialized.
bool finalize(Partition& partition);
/// Ends a partition that is finalized, or never was initialized, and whose deposits have been
/// withdrawn. The caller holds one reference.
Status delete_partition(Partition& payer, Partition& partition);

/// \param pool pays for it. \param is_bootstrap it starts at once; others wait for a start-up
/// message.
std::expected<VirtualProcessor*, Status> create_vp(Partition& partition, std::uint32_t index,
    LogicalProcessor& lp, PagePool& pool, bool is_bootstrap);
/// With no lock held. \return false if there is none of that index.
bool destroy_vp(Partition& partition, std::uint32_t index);

/// Takes a page of `pool` and maps it in the root, for state that both read.
/// \return nothing if the pool is empty.
std::optional<SpaPage> share_page(PagePool& pool);
/// Takes a shared page out of the root's map and gives it back to its pool.
void unshare_page(PagePool& pool, SpaPage page);

/// Maps a page of the root where it is, or takes it out of the root's map. Flushes no TLB.
Status map_in_root(SpaPage page);
Status unmap_from_root(SpaPage page);

} // namespace lifecycle

} // namespace hypervisor
