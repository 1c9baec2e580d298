// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "abi/partition.h"
#include "hypervisor/partition/run_blocks.hpp"

#include <cstdint>

namespace hypervisor {

/// What HvDispatchVp tells of a virtual processor that has stopped: the root may dispatch it again
/// when it likes (ready), or a message tells when (blocked).
struct DispatchOutcome {
    hv_vp_dispatch_state state;
    hv_vp_dispatch_event event;

    friend bool operator==(const DispatchOutcome&, const DispatchOutcome&) = default;
};

/// \param blocks why it does not run (RunBlocks); \param has_event something it must look at has
/// happened.
constexpr DispatchOutcome dispatch_outcome(std::uint32_t blocks, bool has_event) {
    constexpr std::uint32_t by_parent =
        RunBlocks::dispatch_suspend | RunBlocks::removed | RunBlocks::time_stopped;
    // The message of an intercept is there: that comes first, whatever else is asked meanwhile.
    if ((blocks & RunBlocks::intercept_suspend) != 0) {
        return {HV_VP_DISPATCH_STATE_READY, HV_VP_DISPATCH_EVENT_INTERCEPT};
    }
    if ((blocks & RunBlocks::explicit_suspend) != 0) {
        return {HV_VP_DISPATCH_STATE_BLOCKED, HV_VP_DISPATCH_EVENT_SUSPEND};
    }
    if ((blocks & by_parent) != 0 || ((blocks & RunBlocks::waiting) != 0 && !has_event)) {
        return {HV_VP_DISPATCH_STATE_BLOCKED, HV_VP_DISPATCH_EVENT_INVALID};
    }
    // Who holds it lets go in a moment.
    return {HV_VP_DISPATCH_STATE_READY, HV_VP_DISPATCH_EVENT_INVALID};
}

} // namespace hypervisor
