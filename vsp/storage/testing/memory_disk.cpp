// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/testing/memory_disk.hpp"

#include "disk/raw_image.hpp"

#include <utility>
#include <vector>

namespace croft::vsp::storage::testing {

MemoryDisk::MemoryDisk(std::uint64_t size, disk::Format format, bool read_only, bool has_holes)
    : contents_(std::make_shared<disk::test::MemoryStore::Contents>()) {
    contents_->bytes.resize(size);
    contents_->has_holes = has_holes;
    auto store = std::make_unique<disk::test::MemoryStore>(contents_, read_only);
    std::vector<std::unique_ptr<disk::Image>> images;
    images.push_back(
        disk::RawImage::open(std::move(store), format, format == disk::Format::iso ? 2048 : 512)
            .value());
    disk_ = std::make_unique<disk::Disk>(std::make_unique<disk::Chain>(std::move(images)));
}

} // namespace croft::vsp::storage::testing
