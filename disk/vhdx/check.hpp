// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/check.hpp"
#include "disk/vhdx/image.hpp"

namespace croft::disk::vhdx {

// disk::check() and disk::repair() of a VHDX.
Result<CheckReport> check(VhdxImage& image, bool mend);

} // namespace croft::disk::vhdx
