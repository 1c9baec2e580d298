// SPDX-License-Identifier: Apache-2.0
#include "disk/mount/byte_disk.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <vector>

namespace croft::disk::mount {

Result<void> ByteDisk::read(std::uint64_t offset, std::span<std::byte> bytes) {
    if (whole_sectors(offset, bytes.size()))
        return chain_.read(offset, bytes);
    const std::uint64_t start = offset / sector_ * sector_;
    const std::uint64_t end = (offset + bytes.size() + sector_ - 1) / sector_ * sector_;
    std::vector<std::byte> sectors(static_cast<std::size_t>(end - start));
    CROFT_DISK_TRY(chain_.read(start, sectors));
    std::memcpy(bytes.data(), sectors.data() + (offset - start), bytes.size());
    return {};
}

Result<void> ByteDisk::write(std::uint64_t offset, std::span<const std::byte> bytes) {
    if (!whole_sectors(offset, bytes.size())) {
        const std::unique_lock alone{parts_};
        return write_part(offset, bytes);
    }
    const std::shared_lock together{parts_};
    return chain_.write(offset, bytes);
}

Result<void> ByteDisk::write_part(std::uint64_t offset, std::span<const std::byte> bytes) {
    const std::uint64_t start = offset / sector_ * sector_;
    const std::uint64_t end = (offset + bytes.size() + sector_ - 1) / sector_ * sector_;
    std::vector<std::byte> sectors(static_cast<std::size_t>(end - start));
    CROFT_DISK_TRY(chain_.read(start, sectors));
    std::memcpy(sectors.data() + (offset - start), bytes.data(), bytes.size());
    return chain_.write(start, sectors);
}

Result<void> ByteDisk::zero(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t end = offset + length;
    const std::uint64_t first = std::min((offset + sector_ - 1) / sector_ * sector_, end);
    const std::uint64_t last = std::max(end / sector_ * sector_, first);
    const std::unique_lock alone{parts_};
    for (const auto& [at, until] : {std::pair{offset, first}, std::pair{last, end}}) {
        const std::vector<std::byte> zeros(static_cast<std::size_t>(until - at));
        if (!zeros.empty())
            CROFT_DISK_TRY(write_part(at, zeros));
    }
    if (first == last)
        return {};
    std::vector<Store::Range> skipped;
    CROFT_DISK_TRY(chain_.top().discard(first, last - first, skipped));
    for (const Store::Range& range : skipped)
        CROFT_DISK_TRY(zero_in_place(range.offset, range.length));
    return {};
}

// Parts of blocks keep their places, but the file system below may have their room.
Result<void> ByteDisk::zero_in_place(std::uint64_t offset, std::uint64_t length) {
    Image& top = chain_.top();
    while (length > 0) {
        const auto place = chain_.locate(offset, length);
        if (!place)
            return std::unexpected(place.error());
        std::uint64_t step = place->extent.length;
        if (place->image != nullptr) {
            place->image->finish(place->extent, Image::Outcome::was_read);
            const Extent extent = top.reserve(offset, step);
            if (extent.where == Extent::Where::absent) {
                CROFT_DISK_TRY(top.prepare(extent.offset, extent.length, Image::Access::write));
                continue;
            }
            step = extent.length;
            auto outcome = top.store().zero(extent.store_offset, step);
            top.finish(extent, outcome ? Image::Outcome::was_written : Image::Outcome::failed);
            CROFT_DISK_TRY(std::move(outcome));
        }
        offset += step;
        length -= step;
    }
    return {};
}

bool ByteDisk::gives_back() const {
    const ImageInfo& info = chain_.top().info();
    const bool by_the_store =
        info.format == Format::raw && chain_.top().store().traits().zero_gives_back;
    return !info.read_only && (by_the_store || info.allocation != Allocation::fixed);
}

std::uint32_t ByteDisk::unit() const {
    const ImageInfo& info = chain_.top().info();
    return std::max(info.block_size, info.physical_sector_size);
}

Result<std::uint64_t> ByteDisk::seek(std::uint64_t offset, std::uint64_t end, bool data) {
    for (std::uint64_t at = offset / sector_ * sector_; at < end;) {
        const auto place = chain_.locate(at, end - at);
        if (!place)
            return std::unexpected(place.error());
        if (place->image != nullptr)
            place->image->finish(place->extent, Image::Outcome::was_read);
        if ((place->image != nullptr) == data)
            return std::max(at, offset);
        at += place->extent.length;
    }
    return end;
}

} // namespace croft::disk::mount
