// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"
#include "vmbus/memory/mapped_memory.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace croft::vmbus::testing {

/// A guest's memory in a file: pages 16 to 16 + count - 1, so that page 0 is a hole.
class TestMemory {
public:
    static constexpr std::uint64_t first_page = 16;

    explicit TestMemory(std::uint64_t pages);

    [[nodiscard]] const MappedMemory& pages() const { return *mapped_; }
    [[nodiscard]] MemoryFile file() const;

    /// Pages that nobody has yet, in no order that makes sense.
    [[nodiscard]] std::vector<std::uint64_t> allocate(std::uint64_t count);

private:
    Descriptor file_;
    std::vector<MemoryFileRange> ranges_;
    std::unique_ptr<MappedMemory> mapped_;
    std::vector<std::uint64_t> free_;
};

} // namespace croft::vmbus::testing
