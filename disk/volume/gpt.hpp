// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/volume/partition_table.hpp"

namespace croft::disk::volume {

// The partitions by the primary header, or where that is damaged by the backup at the disk's end.
Result<void> read_gpt(Chain& disk, PartitionTable& table);

} // namespace croft::disk::volume
