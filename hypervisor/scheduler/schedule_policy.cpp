// SPDX-License-Identifier: Apache-2.0
#include "abi/partition.h"
#include "hypervisor/scheduler/policy.hpp"

#include <cstring>

namespace hypervisor {

namespace {

hv_proximity_domain_info domain_info(std::uint64_t value) {
    hv_proximity_domain_info info;
    std::memcpy(&info, &value, sizeof info);
    return info;
}

bool is_consistent(const SchedulePolicy& policy, const ScheduleMachine& machine) {
    return policy.weight >= 1 && policy.weight <= SchedulePolicy::most_weight &&
        policy.cap <= Bandwidth::whole && policy.reserve <= policy.cap &&
        (placement_of(policy, machine).allowed & machine.lps) != 0;
}

bool is_domain(std::uint64_t value, const ScheduleMachine& machine) {
    const hv_proximity_domain_info info = domain_info(value);
    return value == 0 ||
        (info.proximity_info_valid != 0 && info.reserved == 0 &&
            (machine.lps_of(info.domain_id) & machine.lps) != 0);
}

} // namespace

PlacementSets placement_of(const SchedulePolicy& policy, const ScheduleMachine& machine) {
    const hv_proximity_domain_info info = domain_info(policy.proximity);
    if (info.proximity_info_valid == 0) {
        return {policy.affinity, Placement::everywhere};
    }
    const std::uint64_t near = machine.lps_of(info.domain_id);
    return {info.proximity_preferred != 0 ? policy.affinity : policy.affinity & near, near};
}

std::optional<std::uint64_t> property_of(const SchedulePolicy& policy, std::uint32_t code) {
    switch (code) {
    case HV_PARTITION_PROPERTY_CPU_WEIGHT:
        return policy.weight;
    case HV_PARTITION_PROPERTY_CPU_CAP:
        return policy.cap;
    case HV_PARTITION_PROPERTY_CPU_RESERVE:
        return policy.reserve;
    case HV_PARTITION_VP_PROPERTY_SCHEDULING_AFFINITY_SET:
        return policy.affinity;
    case HV_PARTITION_PROPERTY_PROXIMITY_DOMAIN:
        return policy.proximity;
    default:
        return std::nullopt;
    }
}

std::expected<SchedulePolicy, Status> with_property(const SchedulePolicy& policy,
    std::uint32_t code, std::uint64_t value, const ScheduleMachine& machine) {
    SchedulePolicy changed = policy;
    const auto narrow = value > Bandwidth::whole ? ~0u : static_cast<std::uint32_t>(value);
    bool is_valid = true;
    switch (code) {
    case HV_PARTITION_PROPERTY_CPU_WEIGHT:
        changed.weight = narrow;
        break;
    case HV_PARTITION_PROPERTY_CPU_CAP:
        changed.cap = narrow;
        break;
    case HV_PARTITION_PROPERTY_CPU_RESERVE:
        changed.reserve = narrow;
        break;
    case HV_PARTITION_VP_PROPERTY_SCHEDULING_AFFINITY_SET:
        changed.affinity = value;
        break;
    case HV_PARTITION_PROPERTY_PROXIMITY_DOMAIN:
        is_valid = is_domain(value, machine);
        changed.proximity = value;
        break;
    default:
        return std::unexpected(Status::unknown_property);
    }
    if (!is_valid || !is_consistent(changed, machine)) {
        return std::unexpected(Status::property_value_out_of_range);
    }
    return changed;
}

} // namespace hypervisor
