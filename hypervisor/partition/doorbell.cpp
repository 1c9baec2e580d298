// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/doorbell.hpp"

#include "abi/port.h"
#include "abi/types.h"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/partition_table.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

namespace hypervisor::doorbell {

namespace {

bool is_in_signal_window(std::uint64_t gpa) {
    return gpa >= HV_SIGNAL_WINDOW_BASE && gpa - HV_SIGNAL_WINDOW_BASE < HV_SIGNAL_WINDOW_SIZE;
}

/// The VP of the root that is told: the one named, or the one that shares this LP.
VirtualProcessor* target_of(const Doorbell& bell) {
    if (bell.target_vp == HV_ANY_VP) {
        return VirtualProcessor::root_vp_of(LogicalProcessor::current());
    }
    return partition_table::root()->vp(bell.target_vp);
}

/// Under the lock of the child's ports.
void ring(Doorbell& bell) {
    VirtualProcessor* const vp = target_of(bell);
    if (vp == nullptr) {
        return;
    }
    switch (vp->synic().push_event(bell.target_sint, bell.port_id)) {
    case Synic::RingResult::signal:
        vp->accept(
            vp->synic().post(HV_SYNIC_INTERCEPTION_SINT, vp->sint_notifications[bell.target_sint]));
        break;
    case Synic::RingResult::full:
        bell.waiting = true;
        break;
    case Synic::RingResult::queued:
    case Synic::RingResult::disabled:
        break;
    }
}

} // namespace

bool exists(Partition& child, std::uint64_t gpa) {
    if (is_in_signal_window(gpa)) {
        return false;
    }
    const SpinGuard guard{child.ports().lock};
    return child.ports().find_doorbell(gpa) != nullptr;
}

bool ring_by_write(Partition& child, std::uint64_t gpa, unsigned size, std::uint64_t value) {
    const SpinGuard guard{child.ports().lock};
    Doorbell* const bell = child.ports().doorbells.find(
        [&](const Doorbell& d) { return d.matches_write(gpa, size, value); });
    if (bell == nullptr) {
        return false;
    }
    ring(*bell);
    return true;
}

bool ring_by_signal(Partition& child, std::uint32_t connection_id) {
    const std::uint64_t gpa = HV_SIGNAL_WINDOW_BASE + connection_id * HV_SIGNAL_WINDOW_STRIDE;
    const SpinGuard guard{child.ports().lock};
    Doorbell* const bell = child.ports().find_doorbell(gpa);
    if (bell == nullptr) {
        return false;
    }
    ring(*bell);
    return true;
}

void ring_empty(unsigned sint) {
    partition_table::for_each([sint](Partition& child) {
        const SpinGuard guard{child.ports().lock};
        child.ports().doorbells.find([sint](Doorbell& bell) {
            if (bell.in_use && bell.waiting && bell.target_sint == sint) {
                bell.waiting = false;
                ring(bell);
            }
            return false;
        });
    });
}

} // namespace hypervisor::doorbell
