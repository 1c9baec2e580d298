// SPDX-License-Identifier: Apache-2.0
// Statistics pages of the hypervisor, its logical processors and partitions.
#pragma once

#include "hypervisor/partition/statistics.hpp"

#include <cstdint>

namespace hypervisor {

class Partition;

namespace machine_statistics {

StatisticsPage& hypervisor_page();
StatisticsPage& lp_page(std::uint32_t index);
StatisticsPage& partition_page(Partition& partition);

/// Writes the figures of now into the pages that are mapped.
void refresh();
/// Those of one partition.
void refresh(Partition& partition);

} // namespace machine_statistics

} // namespace hypervisor
