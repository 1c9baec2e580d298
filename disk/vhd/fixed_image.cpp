// SPDX-License-Identifier: Apache-2.0
#include "disk/vhd/fixed_image.hpp"

#include "disk/vhd/create.hpp"

#include <fmt/format.h>

namespace croft::disk::vhd {

FixedImage::FixedImage(std::unique_ptr<Store> store, const FoundFooter& found)
    : Image{std::move(store)},
      footer_{found.footer} {
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

Result<void> FixedImage::resize(std::uint64_t new_size) {
    CROFT_DISK_TRY(check_size(store().name(), new_size));
    const std::uint64_t old_size = size();
    footer_.current_size = new_size;
    set_geometry(footer_);
    footer_ = sealed(footer_);
    if (new_size < old_size) {
        // The new footer is durable before the file is cut right after it: there is
        // a footer at the end at each moment.
        CROFT_DISK_TRY(store().write(new_size, bytes_of(footer_)));
        CROFT_DISK_TRY(store().flush());
        CROFT_DISK_TRY(store().resize(new_size + sector_size));
    } else if (new_size > old_size) {
        CROFT_DISK_TRY(store().write(new_size, bytes_of(footer_)));
        CROFT_DISK_TRY(store().flush());
        CROFT_DISK_TRY(store().zero(old_size, sector_size)); // the old footer
        CROFT_DISK_TRY(store().allocate(old_size, new_size - old_size));
    }
    set_size(new_size);
    return store().flush();
}

} // namespace croft::disk::vhd
