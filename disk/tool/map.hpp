// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/chain.hpp"
#include "disk/tool/progress.hpp"

#include <functional>

namespace croft::disk::tool {

// A piece of a disk, and where it is.
struct MapRange {
    std::uint64_t offset = 0; // in the disk
    std::uint64_t length = 0;
    bool data = false;     // false: reads as zeros
    std::size_t depth = 0; // of data: 0 is the top image, 1 its parent …
    std::uint64_t store_offset = 0;
};

// Calls visit() with each piece in order, neighbours put together. Holes in files count as zeros.
Result<void> for_each_range(
    Chain& chain, const std::function<Result<void>(const MapRange&)>& visit);

} // namespace croft::disk::tool
