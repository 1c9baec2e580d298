// SPDX-License-Identifier: Apache-2.0
// A virtual processor's memory as it sees it itself: through its own page tables.
#pragma once

#include "hypervisor/emulate/guest_page_walk.hpp"

#include <cstdint>
#include <expected>

namespace hypervisor {

class VirtualProcessor;

/// What decides how the virtual processor's addresses are translated now.
PagingState paging_state(const VirtualProcessor& vp);

/// Translates an address as the virtual processor would now. Its state is at hand: it runs on this
/// LP or is held.
std::expected<Translation, PageFault> translate(
    VirtualProcessor& vp, std::uint64_t gva, PageAccess access, AccessedDirty policy);

} // namespace hypervisor
