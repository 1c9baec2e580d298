// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/scheduler/root_dispatch.hpp"

#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

namespace hypervisor::root_dispatch {

namespace {

/// Nobody else holds it meanwhile, so its state may be changed. \return false if it runs elsewhere.
bool begin(VirtualProcessor& vp, LogicalProcessor& lp, const Request& request) {
    vp.lock_state();
    bool taken = false;
    {
        const SpinGuard guard{vp.schedule_lock()};
        if (vp.place == VirtualProcessor::Place::nowhere) {
            vp.place = VirtualProcessor::Place::running;
            vp.set_lp(lp);
            vp.parent_lp.store(&lp, std::memory_order_release);
            vp.set_dispatch_blocked(false);
            taken = true;
        }
    }
    if (taken && request.clears_intercept &&
        (vp.blocks() & VirtualProcessor::intercept_suspend) != 0) {
        vp.resume_from_intercept();
        vp.clear_block(VirtualProcessor::intercept_suspend);
    }
    vp.unlock_state();
    if (taken && request.scans_interrupts) {
        vp.take_offered_interrupts();
    }
    return taken;
}

/// When a turn ends that begins now; `slice` is in units of 100 ns, 0 for one without an end.
std::uint64_t end_of(std::uint64_t slice) {
    if (slice == 0) {
        return TimerEntry::never;
    }
    const std::uint64_t now = read_tsc();
    const std::uint64_t end = now + clock::from_100ns(slice);
    return end > now ? end : TimerEntry::never;
}

/// What comes from now on finds it blocked and tells the root, or ready.
DispatchOutcome end(VirtualProcessor& vp) {
    const SpinGuard guard{vp.schedule_lock()};
    const DispatchOutcome outcome = dispatch_outcome(vp.blocks(), vp.has_event());
    vp.place = VirtualProcessor::Place::nowhere;
    vp.set_dispatch_blocked(outcome.state == HV_VP_DISPATCH_STATE_BLOCKED);
    return outcome;
}

} // namespace

std::expected<DispatchOutcome, Status> run(
    VirtualProcessor& caller, VirtualProcessor& vp, const Request& request) {
    LogicalProcessor& lp = LogicalProcessor::current();
    if (!begin(vp, lp, request)) {
        return std::unexpected(Status::invalid_vp_state);
    }
    if (vp.can_run()) {
        lp.run_in_place_of(caller, vp, end_of(request.time_slice));
    }
    return end(vp);
}

void wake(VirtualProcessor& vp) {
    VirtualProcessor* receiver = nullptr;
    std::optional<Synic::Interrupt> interrupt;
    {
        const SpinGuard guard{vp.schedule_lock()};
        if (vp.place == VirtualProcessor::Place::running) {
            if (&vp.lp() != &LogicalProcessor::current()) {
                vp.lp().kick();
            }
            return;
        }
        if (!vp.is_dispatch_blocked() || !vp.can_run()) {
            return; // the root dispatches it without being told, or it must not
        }
        vp.set_dispatch_blocked(false);
        receiver = VirtualProcessor::root_vp_of(*vp.parent_lp.load(std::memory_order_acquire));
        interrupt = vp.signal_root(receiver);
    }
    if (receiver != nullptr) {
        receiver->accept(interrupt);
    }
}

} // namespace hypervisor::root_dispatch
