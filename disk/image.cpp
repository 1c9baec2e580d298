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

Result<void> Image::forget_all() {
    return std::unexpected(Error::of(ErrorCode::unsupported, store().name(),
        "not a differencing disk: it has no parent to show"));
}

} // namespace croft::disk
