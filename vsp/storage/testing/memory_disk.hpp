// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/disk.hpp"
#include "tests/disk/memory_store.hpp"

#include <cstdint>
#include <memory>

namespace croft::vsp::storage::testing {

/// A raw disk in memory.
class MemoryDisk {
public:
    /// Without holes, nothing that is discarded is given back.
    explicit MemoryDisk(std::uint64_t size, disk::Format format = disk::Format::raw,
        bool read_only = false, bool has_holes = true);

    [[nodiscard]] disk::Disk& disk() { return *disk_; }
    [[nodiscard]] disk::test::MemoryStore::Contents& contents() { return *contents_; }

private:
    std::shared_ptr<disk::test::MemoryStore::Contents> contents_;
    std::unique_ptr<disk::Disk> disk_;
};

} // namespace croft::vsp::storage::testing
