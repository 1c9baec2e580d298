// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/chain.hpp"
#include "disk/tool/progress.hpp"

#include <functional>

namespace croft::disk::tool {

// Calls visit() with each piece that the top image itself says something about: `data` or `zero`.
// Of a dynamic disk, zeros are left out; of a differencing one they hide the parent and are told.
Result<void> for_each_own_range(Chain& chain,
    const std::function<Result<void>(const Extent&)>& visit, const Progress& progress);

// Writes the top image's own pieces to another disk.
Result<void> copy_own_contents(Chain& source, Chain& target, const Progress& progress);

} // namespace croft::disk::tool
