// SPDX-License-Identifier: Apache-2.0
// A virtual processor's memory as it sees it itself: through its own page tables.
#pragma once

#include "hypervisor/emulate/guest_page_walk.hpp"

#include <array>
#include <cstdint>
#include <expected>
#include <span>

namespace hypervisor {

class VirtualProcessor;

/// What decides how the virtual processor's addresses are translated now.
PagingState paging_state(const VirtualProcessor& vp);

/// Translates an address as the virtual processor would now. Its state is at hand: it runs on this
/// LP or is held.
std::expected<Translation, PageFault> translate(
    VirtualProcessor& vp, std::uint64_t gva, PageAccess access, AccessedDirty policy);

/// The bytes at the instruction pointer, as many as can be read.
struct InstructionBytes {
    static constexpr unsigned most = 15;
    std::array<std::uint8_t, most + 1> bytes{};
    std::uint8_t count = 0;
    [[nodiscard]] std::span<const std::uint8_t> view() const { return {bytes.data(), count}; }
};
InstructionBytes fetch_instruction(VirtualProcessor& vp);

} // namespace hypervisor
