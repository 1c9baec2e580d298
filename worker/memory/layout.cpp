// SPDX-License-Identifier: Apache-2.0
#include "worker/memory/layout.hpp"

#include "worker/error.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace croft::worker {

MemoryLayout::MemoryLayout(std::uint64_t size) {
    if (size < smallest || size > largest || size % smallest != 0) {
        throw SettingsError(fmt::format("memory: found {} bytes, expected a multiple of 2 MiB from "
                                        "2 MiB to 512 GiB; change --memory",
            size));
    }
    ranges_.push_back({0, std::min(size, low_end)});
    if (size > low_end) {
        ranges_.push_back({high_start, size - low_end});
    }
}

std::vector<MemoryMapEntry> MemoryLayout::map() const {
    std::vector<MemoryMapEntry> entries = {
        {{0, base_memory_end}, MemoryType::usable},
        {{base_memory_end, extended_start - base_memory_end}, MemoryType::reserved},
        {{extended_start, low_memory_end() - extended_start}, MemoryType::usable},
    };
    for (std::size_t index = 1; index < ranges_.size(); ++index) {
        entries.push_back({ranges_[index], MemoryType::usable});
    }
    return entries;
}

} // namespace croft::worker
