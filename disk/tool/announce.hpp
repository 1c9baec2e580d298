// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/image.hpp"

namespace croft::disk::tool {

// Before the first change of a parent that a child is merged into: from then on the parent has
// another identity, which the child has to know before; that is what parent_linkage2 is for. A VHD
// keeps its identity.
Result<void> announce(Image& child, Image& parent);

} // namespace croft::disk::tool
