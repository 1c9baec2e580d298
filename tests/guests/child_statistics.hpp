// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace croft::guests {

/// A counter of each child partition, by its name in the root's debug file system.
std::vector<std::uint64_t> partition_counters(std::string_view name);
/// A counter of each virtual processor of each child.
std::vector<std::uint64_t> processor_counters(std::string_view name);

} // namespace croft::guests
