// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/store.hpp"
#include "disk/vhdx/layout.hpp"
#include "disk/vhdx/metadata.hpp"
#include "disk/vhdx/regions.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace croft::disk::vhdx {

struct CreateOptions {
    std::uint64_t size = 0;       // bytes, a multiple of the logical sector size, up to 64 TiB
    std::uint32_t block_size = 0; // bytes; 0 chooses one that suits
    std::uint32_t logical_sector_size = 512;
    std::uint32_t physical_sector_size = 4096;
    bool fixed = false;
    // Of a differencing disk: the parent locator's keys and values.
    std::vector<std::pair<std::string, std::string>> parent_locator{};
    Guid disk_id{};         // zero: a random one
    Guid data_write_guid{}; // likewise
    // Of a copy that takes the place of its original: what the original has that this library does
    // not know goes along.
    struct Unknown {
        Store* from = nullptr; // with nothing left in its log
        std::vector<UnknownItem> items{};
        std::vector<Regions::Region> regions{};
    } unknown{};
};

// Writes a new, empty VHDX into a store that is empty, durably. The file identifier comes last, so
// that what a power cut leaves is not mistaken for a disk.
Result<void> create(Store& store, const CreateOptions& options);

// Small blocks keep a sparse disk small; large ones keep the table of a large disk small.
std::uint32_t default_block_size(std::uint64_t disk_size, bool differencing);

} // namespace croft::disk::vhdx
