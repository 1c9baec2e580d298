// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/time.hpp"

#include "hypervisor/partition/overlay.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"
#include "hypervisor/scheduler/scheduler.hpp"

namespace hypervisor::time {

namespace {

void stop(Partition& partition) {
    partition.for_each_vp(
        [](VirtualProcessor& vp) { vp.set_block(VirtualProcessor::time_stopped); });
    partition.for_each_vp([](VirtualProcessor& vp) { scheduler::stop(vp); });
    partition.clock().stop(read_tsc());
}

void go_on(Partition& partition) {
    partition.clock().go_on(read_tsc());
    partition.for_each_vp([](VirtualProcessor& vp) {
        vp.clear_block(VirtualProcessor::time_stopped);
        vp.time_changed();
    });
}

/// The offset that all counters of the partition have, or nothing.
std::optional<std::uint64_t> common_offset(const Partition& partition, std::uint64_t first) {
    bool all = true;
    partition.for_each_vp(
        [&](const VirtualProcessor& vp) { all = all && vp.tsc_offset() == first; });
    return all ? std::optional{first} : std::nullopt;
}

} // namespace

void stand_still(Partition& partition, bool still) {
    const SpinGuard guard{partition.time_lock()};
    if (partition.clock().stands_still() == still) {
        return;
    }
    if (still) {
        stop(partition);
    } else {
        go_on(partition);
    }
}

void join(VirtualProcessor& vp) {
    const SpinGuard guard{vp.partition().time_lock()};
    if (vp.partition().clock().stands_still()) {
        vp.set_block(VirtualProcessor::time_stopped);
    }
}

void set_reference(Partition& partition, std::uint64_t value) {
    partition.clock().set_reference_time(value, read_tsc());
    overlay::refresh_reference_tsc_page(partition);
    partition.for_each_vp([](VirtualProcessor& vp) { vp.time_changed(); });
}

void set_tsc(VirtualProcessor& vp, std::uint64_t value) {
    Partition& partition = vp.partition();
    const std::uint64_t now = read_tsc();
    vp.set_tsc_offset(value - partition.clock().ticks(now));
    {
        const SpinGuard guard{partition.time_lock()};
        partition.clock().follow(common_offset(partition, vp.tsc_offset()), now);
    }
    overlay::refresh_reference_tsc_page(partition);
}

} // namespace hypervisor::time
