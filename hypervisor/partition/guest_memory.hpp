// SPDX-License-Identifier: Apache-2.0
// A virtual processor's memory as it sees it itself: through its own page tables.
#pragma once

#include "hypervisor/cpu/native_cpu.hpp"
#include "hypervisor/emulate/guest_page_walk.hpp"
#include "hypervisor/emulate/walk_trace.hpp"

#include <cstdint>
#include <expected>
#include <optional>

namespace hypervisor {

class Partition;
class VirtualProcessor;

/// What decides how the virtual processor's addresses are translated now.
PagingState paging_state(const VirtualProcessor& vp);

/// Translates an address as the virtual processor would now. Its state is at hand: it runs on this
/// LP or is held.
std::expected<Translation, PageFault> translate(
    VirtualProcessor& vp, std::uint64_t gva, PageAccess access, AccessedDirty policy);

/// Whether walks are remembered in the mode that the guest is in: 64-bit mode with four levels.
[[nodiscard]] bool has_four_levels(const NativeCpu& cpu);

/// Where the entry of a page table lies, or null: as Partition::memory_at has it.
[[nodiscard]] const WalkTrace::Word* table_entry(Partition& partition, std::uint64_t gpa);

/// Translates as translate() does, and leaves accessed bits, with four levels.
/// \param trace gets what the walk led through.
[[nodiscard]] std::optional<Translation> translate_traced(
    VirtualProcessor& vp, std::uint64_t gva, PageAccess access, WalkTrace& trace);

/// Translates what an intercepted instruction reads or writes; what comes again is not walked to
/// once more. \return the GPA.
[[nodiscard]] std::optional<std::uint64_t> operand_gpa(
    VirtualProcessor& vp, std::uint64_t gva, PageAccess::Kind kind);

} // namespace hypervisor
