// SPDX-License-Identifier: Apache-2.0
#include "abi/partition.h"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/hypercall/target.hpp"
#include "hypervisor/scheduler/balance.hpp"
#include "hypervisor/scheduler/root_dispatch.hpp"
#include "hypervisor/scheduler/scheduler.hpp"

namespace hypervisor::hypercall {

/// Which predictions are to be kept is a hint that is not taken: barriers are the hypervisor's
/// affair. The caller's interrupts and its SPEC_CTRL are its own.
Status dispatch_vp(Call& call) {
    const auto in = call.in<hv_input_dispatch_vp>();
    if (!scheduler::root_schedules()) {
        return Status::operation_denied;
    }
    const auto vp = find_childs_vp(call, in.partition_id, in.vp_index);
    if (!vp) {
        return vp.error();
    }
    const auto outcome = root_dispatch::run(call.caller, *vp,
        {.clears_intercept = (in.flags & HV_DISPATCH_VP_FLAG_CLEAR_INTERCEPT_SUSPEND) != 0,
            .scans_interrupts = (in.flags & HV_DISPATCH_VP_FLAG_SCAN_INTERRUPT_INJECTION) != 0,
            .time_slice = in.time_slice});
    if (!outcome) {
        return outcome.error();
    }
    // The child's own calls have used the same buffer.
    call.out(
        hv_output_dispatch_vp{.dispatch_state = outcome->state, .dispatch_event = outcome->event});
    return Status::success;
}

/// Another virtual processor holds what the caller waits for. One that waits for its turn itself
/// gets the caller's; if there is none, giving way would help nobody. The root, where it schedules,
/// is asked in any case.
Status notify_long_spin_wait(Call& call) {
    if (scheduler::root_schedules() || balance::yield_to_peer(call.caller)) {
        LogicalProcessor::current().request_reschedule();
    }
    return Status::success;
}

} // namespace hypervisor::hypercall
