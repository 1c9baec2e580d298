// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/scheduler/policy.hpp"

#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/debug/console.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"
#include "hypervisor/scheduler/scheduler.hpp"

#include <bit>

namespace hypervisor::policy {

namespace {

/// Held while a policy is looked at or changed; before any lock of the scheduler's.
constinit SpinLock lock{};
/// The reserves of all children's virtual processors.
constinit std::uint64_t reserved = 0;

template <class F>
std::uint64_t lps_that(F&& f) {
    std::uint64_t set = 0;
    for (const LogicalProcessor* const lp : LogicalProcessor::all()) {
        set |= lp->added_to_root.load() && f(*lp) ? 1ull << lp->index() : 0;
    }
    return set;
}

ScheduleMachine machine() {
    return {.lps = lps_that([](const LogicalProcessor&) { return true; }),
        .lps_of = [](std::uint32_t domain) {
            return lps_that(
                [domain](const LogicalProcessor& lp) { return lp.proximity_domain == domain; });
        }};
}

std::uint64_t can_be_reserved() {
    const auto lps = static_cast<unsigned>(std::popcount(machine().lps));
    return std::uint64_t{lps} * (Bandwidth::whole - root_reserve);
}

void apply(VirtualProcessor& vp, const SchedulePolicy& policy) {
    scheduler::set_share(
        vp, {.weight = policy.weight, .cap = policy.cap, .reserve = policy.reserve});
}

void apply(Partition& partition, const SchedulePolicy& policy) {
    partition.schedule_policy = policy;
    const PlacementSets sets = placement_of(policy, machine());
    partition.placement.set(sets.allowed, sets.preferred);
    partition.for_each_vp([&policy](VirtualProcessor& vp) { apply(vp, policy); });
}

} // namespace

std::optional<std::uint64_t> get(Partition& partition, std::uint32_t code) {
    const SpinGuard guard{lock};
    return property_of(partition.schedule_policy, code);
}

Status set(Partition& partition, std::uint32_t code, std::uint64_t value) {
    const SpinGuard guard{lock};
    const SchedulePolicy& old = partition.schedule_policy;
    const auto changed = with_property(old, code, value, machine());
    if (!changed) {
        return changed.error();
    }
    if (scheduler::root_schedules()) {
        return Status::operation_denied;
    }
    const std::uint64_t vps = partition.schedule_members;
    const std::uint64_t sum = reserved - vps * old.reserve + vps * changed->reserve;
    if (changed->reserve > old.reserve && sum > can_be_reserved()) {
        return Status::property_value_out_of_range;
    }
    reserved = sum;
    apply(partition, *changed);
    return Status::success;
}

void join(VirtualProcessor& vp) {
    const SpinGuard guard{lock};
    Partition& partition = vp.partition();
    if (partition.is_root()) {
        scheduler::set_share(vp,
            {.weight = ScheduleEntity::usual_weight,
                .cap = Bandwidth::whole,
                .reserve = root_reserve});
        return;
    }
    SchedulePolicy policy = partition.schedule_policy;
    if (policy.reserve != 0 && reserved + policy.reserve > can_be_reserved()) {
        log(LogLevel::warning, "partition {}: its reserve can't be kept for one more processor",
            partition.id());
        reserved -= std::uint64_t{partition.schedule_members} * policy.reserve;
        policy.reserve = 0;
        apply(partition, policy);
    }
    reserved += policy.reserve;
    ++partition.schedule_members;
    apply(vp, policy);
}

void leave(VirtualProcessor& vp) {
    const SpinGuard guard{lock};
    Partition& partition = vp.partition();
    if (!partition.is_root()) {
        --partition.schedule_members;
        reserved -= partition.schedule_policy.reserve;
    }
}

} // namespace hypervisor::policy
