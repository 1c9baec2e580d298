// SPDX-License-Identifier: Apache-2.0
// The mode in which the root schedules its children (`scheduler=root`): a thread of the root runs a
// child's virtual processor by HvDispatchVp, in the place of the root's virtual processor that it
// is on itself. The root's own events end that at once. One that is blocked is told to the root by
// a message when it isn't any more.
#pragma once

#include "hypervisor/hypercall/status.hpp"
#include "hypervisor/scheduler/dispatch_outcome.hpp"

#include <cstdint>
#include <expected>

namespace hypervisor {

class VirtualProcessor;

namespace root_dispatch {

struct Request {
    bool clears_intercept = false; ///< the parent has handled an intercept
    bool scans_interrupts = false; ///< there are interrupts in the register page
    std::uint64_t time_slice = 0;  ///< 100 ns units; 0: until something happens
};

/// Runs `vp` on this LP, where `caller`, the root's, has made a hypercall.
/// \return invalid_vp_state if it runs on another.
std::expected<DispatchOutcome, Status> run(
    VirtualProcessor& caller, VirtualProcessor& vp, const Request& request);

/// scheduler::wake for a child's.
void wake(VirtualProcessor& vp);

} // namespace root_dispatch

} // namespace hypervisor
