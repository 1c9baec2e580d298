// SPDX-License-Identifier: Apache-2.0
#include "disk/image.hpp"

namespace croft::disk {

std::string_view to_string(Format format) {
    switch (format) {
    case Format::raw:
        return "raw";
    case Format::vhd:
        return "vhd";
    case Format::vhdx:
        return "vhdx";
    case Format::iso:
        return "iso";
    }
    return "unknown";
}

std::string_view to_string(Allocation allocation) {
    switch (allocation) {
    case Allocation::fixed:
        return "fixed";
    case Allocation::dynamic:
        return "dynamic";
    case Allocation::differencing:
        return "differencing";
    }
    return "unknown";
}

Result<void> Image::trim(std::uint64_t offset, std::uint64_t length) {
    std::vector<Store::Range> skipped;
    return discard(offset, length, skipped);
}

std::uint32_t Image::discard_granularity() const {
    if (info_.read_only)
        return 0;
    if (info_.format == Format::raw || info_.format == Format::iso)
        return store_->traits().discard_granularity;
    const bool forgets = info_.allocation == Allocation::dynamic ||
        (info_.allocation == Allocation::differencing && info_.format == Format::vhdx);
    return forgets ? info_.block_size : 0;
}

std::string Image::disk_identity() const {
    return info_.disk_id ? info_.disk_id->text() : store_->identity();
}

Result<void> Image::take_all() {
    return std::unexpected(Error::of(ErrorCode::invalid_argument, store().name(),
        "found a " + std::string{to_string(info_.format)} +
            " file, expected a size, as only a raw disk has that of its file or device"));
}

Result<void> Image::forget_all() {
    return std::unexpected(Error::of(ErrorCode::unsupported, store().name(),
        "not a differencing disk: it has no parent to show"));
}

} // namespace croft::disk
