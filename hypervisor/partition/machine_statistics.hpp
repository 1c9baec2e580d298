// SPDX-License-Identifier: Apache-2.0
// Statistics pages of the hypervisor, its logical processors and partitions. The root reads them as
// memory, without asking, so they are written when something changes.
#pragma once

#include "hypervisor/partition/statistics.hpp"

#include <cstdint>

namespace hypervisor {

class LogicalProcessor;
class Partition;

namespace machine_statistics {

StatisticsPage& hypervisor_page();
StatisticsPage& lp_page(std::uint32_t index);

/// Writes the figures of now into all pages that are mapped.
void refresh();
/// Something about the partition has changed that its page or the hypervisor's shows.
void refresh(Partition& partition);
/// The partition goes; nobody finds it any more.
void forget(Partition& partition);
/// An LP's own: on that LP, between its guests and at its interrupts.
void refresh(const LogicalProcessor& lp);

} // namespace machine_statistics

} // namespace hypervisor
