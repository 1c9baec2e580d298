// SPDX-License-Identifier: Apache-2.0
// A child's share of the processors, as its parent decides it by properties of the partition: a
// relative weight, a reserve and a cap for each virtual processor, and where they run (TLFS
// "HV_PARTITION_PROPERTY_CODE", scheduling properties; hv_proximity_domain_info).
#pragma once

#include "hypervisor/hypercall/status.hpp"
#include "hypervisor/scheduler/bandwidth.hpp"
#include "hypervisor/scheduler/placement.hpp"
#include "hypervisor/scheduler/run_queue.hpp"

#include <cstdint>
#include <expected>
#include <optional>

namespace hypervisor {

class Partition;
class VirtualProcessor;

struct SchedulePolicy {
    static constexpr std::uint32_t most_weight = 10'000;

    std::uint32_t weight = ScheduleEntity::usual_weight;
    std::uint32_t cap = Bandwidth::whole;           ///< of an LP, for each virtual processor
    std::uint32_t reserve = 0;                      ///< likewise
    std::uint64_t affinity = Placement::everywhere; ///< LPs, a bit for each
    std::uint64_t proximity = 0; ///< hv_proximity_domain_info; 0 if there is none
};

/// What the machine has for it.
struct ScheduleMachine {
    std::uint64_t lps = 0;
    /// LPs of a proximity domain.
    std::uint64_t (*lps_of)(std::uint32_t domain) = nullptr;
};

/// The set of LPs that a policy allows and the one that it prefers.
struct PlacementSets {
    std::uint64_t allowed;
    std::uint64_t preferred;
};
PlacementSets placement_of(const SchedulePolicy& policy, const ScheduleMachine& machine);

/// The value of one of its properties. \return nothing if `code` is no such property.
std::optional<std::uint64_t> property_of(const SchedulePolicy& policy, std::uint32_t code);
/// The policy with one property changed. \return unknown_property if `code` is no such property,
/// property_value_out_of_range if the value is, or goes with no LP or not with the others.
std::expected<SchedulePolicy, Status> with_property(const SchedulePolicy& policy,
    std::uint32_t code, std::uint64_t value, const ScheduleMachine& machine);

namespace policy {

/// What is kept for the root of each LP, and can't be reserved for children: so it is never
/// starved. It is patient, as it is for having other things wait.
inline constexpr std::uint32_t root_reserve = Bandwidth::whole / 4;

[[nodiscard]] std::optional<std::uint64_t> get(Partition& partition, std::uint32_t code);
/// \return as with_property; property_value_out_of_range, too, if all reserves together are more
/// than there is, and operation_denied where the root schedules its children.
Status set(Partition& partition, std::uint32_t code, std::uint64_t value);
/// The virtual processor is new, or goes away. A reserve that can't be kept for one more ends.
void join(VirtualProcessor& vp);
void leave(VirtualProcessor& vp);

} // namespace policy

} // namespace hypervisor
