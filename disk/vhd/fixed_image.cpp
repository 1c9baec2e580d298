// SPDX-License-Identifier: Apache-2.0
#include "disk/vhd/fixed_image.hpp"

#include "disk/vhd/create.hpp"

#include <fmt/format.h>

namespace croft::disk::vhd {

FixedImage::FixedImage(std::unique_ptr<Store> store, const FoundFooter& found)
    : Image{std::move(store)},
      footer_{found.footer},
      footer_place_{found.end_offset} {
    describe(footer_, mutable_info());
    mutable_info().read_only = this->store().traits().read_only;
    set_size(footer_.current_size);
}

Extent FixedImage::find(std::uint64_t offset, std::uint64_t length) {
    return {Extent::Where::data, offset, length, offset};
}

Extent FixedImage::reserve(std::uint64_t offset, std::uint64_t length) {
    return find(offset, length);
}

Result<void> FixedImage::flush() {
    return info().read_only ? Result<void>{} : store().flush();
}

// The room of a fixed disk is its own; it is not given back.
Result<void> FixedImage::discard(
    std::uint64_t offset, std::uint64_t length, std::vector<Store::Range>& skipped) {
    skipped.push_back({offset, length});
    return {};
}

// There is a footer at the end of the file at each moment, and which size it tells changes in one
// step: the one at the file's old end when the disk becomes smaller, at its new end when it grows.
Result<void> FixedImage::resize(std::uint64_t new_size) {
    CROFT_DISK_TRY(check_size(store().name(), new_size));
    if (info().read_only)
        return std::unexpected(
            Error::of(ErrorCode::read_only, store().name(), "the file was opened for reading"));
    const std::uint64_t old_size = size();
    Footer footer = footer_;
    footer.current_size = new_size;
    set_geometry(footer);
    footer = sealed(footer);
    if (new_size < old_size) {
        CROFT_DISK_TRY(place_footer(footer_place_, footer));
        footer_ = footer;
        set_size(new_size);
        return cut_file();
    }
    if (new_size == old_size)
        return {};
    if (footer_place_ != old_size) // somebody was stopped while making it smaller
        CROFT_DISK_TRY(cut_file());
    CROFT_DISK_TRY(place_footer(new_size, footer_));
    CROFT_DISK_TRY(store().zero(old_size, new_size - old_size)); // the old footer is there
    CROFT_DISK_TRY(store().allocate(old_size, new_size - old_size));
    CROFT_DISK_TRY(store().order());
    CROFT_DISK_TRY(place_footer(new_size, footer));
    footer_ = footer;
    footer_place_ = new_size;
    set_size(new_size);
    return {};
}

// Gives up what is between the disk's end and the footer.
Result<void> FixedImage::cut_file() {
    CROFT_DISK_TRY(place_footer(size(), footer_));
    CROFT_DISK_TRY(store().resize(size() + sector_size));
    footer_place_ = size();
    return {};
}

Result<void> FixedImage::place_footer(std::uint64_t offset, const Footer& footer) {
    CROFT_DISK_TRY(store().write(offset, bytes_of(footer)));
    return store().order();
}

} // namespace croft::disk::vhd
