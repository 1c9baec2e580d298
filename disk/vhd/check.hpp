// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/check.hpp"
#include "disk/vhd/dynamic_image.hpp"

namespace croft::disk::vhd {

// disk::check() and disk::repair() of a dynamic or differencing VHD.
Result<CheckReport> check(DynamicImage& image, bool mend);

} // namespace croft::disk::vhd
