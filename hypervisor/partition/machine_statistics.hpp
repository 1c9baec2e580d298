// SPDX-License-Identifier: Apache-2.0
// Statistics pages of the hypervisor, its logical processors and partitions.
#pragma once

#include <cstdint>

namespace hypervisor {

class Partition;

namespace machine_statistics {

/// Where the pointer to a page is kept; null while the page is not mapped.
std::uint64_t** hypervisor_page();
std::uint64_t** lp_page(std::uint32_t index);
std::uint64_t** partition_page(Partition& partition);

/// Writes the figures of now into the pages that are mapped.
void refresh();
/// Those of one partition.
void refresh(Partition& partition);

} // namespace machine_statistics

} // namespace hypervisor
