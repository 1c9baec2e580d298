// SPDX-License-Identifier: Apache-2.0
#include "disk/raw_image.hpp"

#include <algorithm>

namespace croft::disk {

Result<std::unique_ptr<RawImage>> RawImage::open(
    std::unique_ptr<Store> store, Format format, std::uint32_t sector_size) {
    if (store->size() % sector_size != 0)
        return std::unexpected(Error::of(ErrorCode::misaligned, store->name(),
            "size: found " + std::to_string(store->size()) + " bytes, expected a multiple of " +
                std::to_string(sector_size)));
    std::unique_ptr<RawImage> image{new RawImage{std::move(store)}};
    ImageInfo& info = image->mutable_info();
    info.format = format;
    image->set_size(image->store().size());
    info.logical_sector_size = sector_size;
    info.physical_sector_size = std::max(sector_size, info.physical_sector_size);
    info.read_only = format == Format::iso || image->store().traits().read_only;
    return image;
}

Extent RawImage::find(std::uint64_t offset, std::uint64_t length) {
    return {Extent::Where::data, offset, length, offset};
}

Extent RawImage::reserve(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t end = store().end();
    if (offset + length <= end)
        return find(offset, length);
    const std::uint64_t sector = info().logical_sector_size;
    if (offset + sector <= end)
        return find(offset, (end - offset) / sector * sector);
    return {Extent::Where::absent, offset, length, offset};
}

// There is nothing to bring but the reason.
Result<void> RawImage::prepare(std::uint64_t offset, std::uint64_t length, Access access) {
    const std::uint64_t end = store().end();
    if (access == Access::read || offset + length <= end)
        return {};
    return std::unexpected(cut_off(offset, end));
}

Error RawImage::cut_off(std::uint64_t offset, std::uint64_t end) const {
    Error error = Error::of(ErrorCode::io, store().name(),
        "write: the file ends at " + std::to_string(end) + ", expected the disk's " +
            std::to_string(size()) + " bytes");
    error.offset = offset;
    return error;
}

Result<void> RawImage::flush() {
    if (info().read_only)
        return {};
    return store().flush();
}

Result<void> RawImage::discard(
    std::uint64_t offset, std::uint64_t length, std::vector<Store::Range>&) {
    if (const std::uint64_t end = store().end(); offset + length > end)
        return std::unexpected(cut_off(offset, end));
    return store().zero(offset, length);
}

Result<void> RawImage::trim(std::uint64_t offset, std::uint64_t length) {
    return store().discard(offset, length);
}

Result<void> RawImage::take_all() {
    CROFT_DISK_TRY(store().remeasure());
    set_size(store().size() / info().logical_sector_size * info().logical_sector_size);
    return {};
}

Result<void> RawImage::resize(std::uint64_t size) {
    if (info().read_only)
        return std::unexpected(
            Error::of(ErrorCode::read_only, store().name(), "can be read, not written"));
    if (size % info().logical_sector_size != 0)
        return std::unexpected(Error::of(ErrorCode::misaligned, store().name(),
            "a size of " + std::to_string(size) + " bytes is not a multiple of the sector size"));
    CROFT_DISK_TRY(store().resize(size));
    if (store().size() != size)
        return std::unexpected(Error::of(ErrorCode::invalid_argument, store().name(),
            "the device has " + std::to_string(store().size()) + " bytes, asked for are " +
                std::to_string(size)));
    set_size(size);
    return {};
}

} // namespace croft::disk
