// SPDX-License-Identifier: Apache-2.0
// What guests are left for, recorded while the root wants to know (abi/exit_trace.h). Until then
// an exit costs two looks at a word that is the LP's own.
#pragma once

#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/hypercall/status.hpp"

#include <cstdint>

struct hv_exit_trace;

namespace hypervisor {

class TraceRing;
class VirtualProcessor;
struct Exit;

namespace exit_trace {

// Out of the way of those exits that are not recorded.
[[gnu::cold, gnu::noinline]] void record_exit(
    TraceRing& ring, const VirtualProcessor& vp, const Exit& exit);
[[gnu::cold, gnu::noinline]] void record_entry(TraceRing& ring, const VirtualProcessor& vp);
[[gnu::cold, gnu::noinline]] void record_stop(
    TraceRing& ring, const VirtualProcessor& vp, bool is_for_parent);

// For the LP that runs the guest, while it counts as outside of it: until it is in a guest, a ring
// that it has found is not freed.

/// The guest has been left, and nothing has been done about it.
inline void left_guest(const LogicalProcessor& lp, const VirtualProcessor& vp, const Exit& exit) {
    if (TraceRing* const ring = lp.trace_ring(); ring != nullptr) [[unlikely]] {
        record_exit(*ring, vp, exit);
    }
}
/// The guest is about to be entered.
inline void enter_guest(const LogicalProcessor& lp, const VirtualProcessor& vp) {
    if (TraceRing* const ring = lp.trace_ring(); ring != nullptr) [[unlikely]] {
        record_entry(*ring, vp);
    }
}
/// The guest will not be entered for now.
inline void stopped(const LogicalProcessor& lp, const VirtualProcessor& vp, bool is_for_parent) {
    if (TraceRing* const ring = lp.trace_ring(); ring != nullptr) [[unlikely]] {
        record_stop(*ring, vp, is_for_parent);
    }
}

/// What whoever reads has to know, made by the first call.
[[nodiscard]] std::uint64_t key();

/// Whether a property of the root's is about this; `code` as in abi/exit_trace.h.
[[nodiscard]] bool is_property(std::uint32_t code);
/// For the root's HvCallGetPartitionPropertyEx, with no lock held. `answer` holds zeros.
Status get_property(std::uint32_t code, std::uint64_t key, hv_exit_trace& answer);

} // namespace exit_trace

} // namespace hypervisor
