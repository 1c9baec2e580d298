// SPDX-License-Identifier: Apache-2.0
// The properties of partitions (TLFS "HV_PARTITION_PROPERTY_CODE").
#pragma once

#include "hypervisor/hypercall/status.hpp"
#include "hypervisor/partition/named.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace hypervisor {

class Partition;

namespace hypercall {

using Property = std::optional<std::uint64_t>;

struct PropertyRow {
    std::uint32_t first;
    std::uint32_t last;
    [[no_unique_address]] Name name;
    Property (*get)(Partition& partition, std::uint32_t code);
    Status (*set)(Partition& partition, std::uint32_t code, std::uint64_t value); ///< or null
};

/// All that there are, and those that HvCallGetPartitionPropertyEx tells.
extern const std::span<const PropertyRow> properties;
extern const std::span<const PropertyRow> ex_properties;

} // namespace hypercall

} // namespace hypervisor
