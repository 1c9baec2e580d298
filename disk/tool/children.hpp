// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/error.hpp"

#include <string>
#include <vector>

namespace croft::disk::tool {

// The differencing disks that lie in the same folder as a disk and are made from it. No disk knows
// its children, so those elsewhere stay unknown.
Result<std::vector<std::string>> children_beside(const std::string& path);

// Refuses what has such children, which would be of no use without it.
Result<void> refuse_if_parent(const std::string& path);

} // namespace croft::disk::tool
