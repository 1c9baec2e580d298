// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/image.hpp"

#include <memory>
#include <span>

namespace croft::disk::tool {

// Before the first change of a parent that a child is merged into: from then on the parent has
// another identity, which the child has to know before; that is what parent_linkage2 is for. A VHD
// keeps its identity.
Result<void> announce(Image& child, Image& parent);

// Before a child is merged into a parent that is shorter: what the parent's own parent has beyond
// that end would come to light in both, so the child says first that it is zeros. `parent` is the
// chain from the parent on.
Result<void> make_as_large(Image& child, std::span<const std::unique_ptr<Image>> parent);

} // namespace croft::disk::tool
