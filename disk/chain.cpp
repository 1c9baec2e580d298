// SPDX-License-Identifier: Apache-2.0
#include "disk/chain.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace croft::disk {

Chain::Place Chain::find(std::uint64_t offset, std::uint64_t length) {
    for (const auto& image : images_) {
        const std::uint64_t size = image->size();
        if (offset >= size)
            break;
        const Extent extent = image->find(offset, std::min(length, size - offset));
        length = extent.length;
        if (extent.where == Extent::Where::zero)
            break;
        if (extent.where != Extent::Where::parent)
            return {image.get(), extent};
    }
    return {nullptr, {Extent::Where::zero, offset, length}};
}

Result<Chain::Place> Chain::locate(std::uint64_t offset, std::uint64_t length) {
    for (;;) {
        Place place = find(offset, length);
        if (place.image == nullptr || place.extent.where != Extent::Where::absent)
            return place;
        CROFT_DISK_TRY(
            place.image->prepare(place.extent.offset, place.extent.length, Image::Access::read));
    }
}

Status Chain::admit(std::uint64_t offset, std::uint64_t length) const {
    const ImageInfo& info = top().info();
    if (offset % info.logical_sector_size != 0 || length % info.logical_sector_size != 0)
        return {ErrorCode::misaligned, 0};
    if (offset > size() || length > size() - offset)
        return {ErrorCode::out_of_range, 0};
    return {};
}

Result<void> Chain::admitted(std::uint64_t offset, std::uint64_t length) const {
    const Status status = admit(offset, length);
    if (status.ok())
        return {};
    return std::unexpected(Error::of(status.code, top().store().name(),
        std::to_string(length) + " bytes from " + std::to_string(offset) +
            " are not whole sectors within the disk of " + std::to_string(size()) + " bytes"));
}

Result<void> Chain::read(std::uint64_t offset, std::span<std::byte> bytes) {
    CROFT_DISK_TRY(admitted(offset, bytes.size()));
    while (!bytes.empty()) {
        auto place = locate(offset, bytes.size());
        if (!place)
            return std::unexpected(std::move(place).error());
        const auto piece = bytes.first(static_cast<std::size_t>(place->extent.length));
        if (place->image == nullptr) {
            std::memset(piece.data(), 0, piece.size());
        } else {
            auto outcome = place->image->store().read(place->extent.store_offset, piece);
            place->image->finish(place->extent, Image::Outcome::was_read);
            CROFT_DISK_TRY(std::move(outcome));
        }
        offset += piece.size();
        bytes = bytes.subspan(piece.size());
    }
    return {};
}

Result<void> Chain::write(std::uint64_t offset, std::span<const std::byte> bytes) {
    CROFT_DISK_TRY(admitted(offset, bytes.size()));
    Image& image = top();
    if (image.info().read_only)
        return std::unexpected(Error::of(
            ErrorCode::read_only, image.store().name(), "the disk was opened for reading"));
    return write_to(image, offset, bytes);
}

std::unique_ptr<Image> Chain::drop_top() {
    auto top = std::move(images_.front());
    images_.erase(images_.begin());
    return top;
}

Result<void> write_to(Image& image, std::uint64_t offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const Extent extent = image.reserve(offset, bytes.size());
        if (extent.where == Extent::Where::absent) {
            CROFT_DISK_TRY(image.prepare(extent.offset, extent.length, Image::Access::write));
            continue;
        }
        const auto piece = bytes.first(static_cast<std::size_t>(extent.length));
        auto outcome = image.store().write(extent.store_offset, piece);
        image.finish(extent, outcome ? Image::Outcome::was_written : Image::Outcome::failed);
        CROFT_DISK_TRY(std::move(outcome));
        offset += piece.size();
        bytes = bytes.subspan(piece.size());
    }
    return {};
}

Result<void> Chain::discard(std::uint64_t offset, std::uint64_t length) {
    CROFT_DISK_TRY(admitted(offset, length));
    return top().trim(offset, length);
}

Result<void> Chain::write_zeroes(std::uint64_t offset, std::uint64_t length) {
    CROFT_DISK_TRY(admitted(offset, length));
    std::vector<Store::Range> skipped;
    CROFT_DISK_TRY(top().discard(offset, length, skipped));
    static constexpr std::array<std::byte, 1U << 16U> zeros{};
    for (auto range : skipped) {
        while (range.length > 0) {
            // What reads as zeros already needs no room.
            auto place = locate(range.offset, std::min<std::uint64_t>(range.length, zeros.size()));
            if (!place)
                return std::unexpected(std::move(place).error());
            const std::uint64_t step = place->extent.length;
            if (place->image != nullptr) {
                place->image->finish(place->extent, Image::Outcome::was_read);
                CROFT_DISK_TRY(
                    write(range.offset, std::span{zeros}.first(static_cast<std::size_t>(step))));
            }
            range.offset += step;
            range.length -= step;
        }
    }
    return {};
}

Result<void> Chain::close() {
    Result<void> outcome;
    for (const auto& image : images_) {
        auto closed = image->close();
        if (outcome && !closed)
            outcome = std::move(closed);
    }
    return outcome;
}

} // namespace croft::disk
