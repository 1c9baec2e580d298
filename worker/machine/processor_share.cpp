// SPDX-License-Identifier: Apache-2.0
#include "worker/machine/processor_share.hpp"

#include "abi/partition.h"
#include "abi/status.h"
#include "worker/error.hpp"
#include "worker/settings/share_option.hpp"

#include <cstring>
#include <fmt/format.h>

namespace croft::worker {

namespace {

/// Thousandths of a percent as the hypervisor counts.
std::uint64_t fraction(std::uint32_t of) {
    return (std::uint64_t{of} * HV_PARTITION_CPU_FRACTION_MAX + ProcessorSettings::whole / 2) /
        ProcessorSettings::whole;
}

void ask(hv::Partition& partition, hv_partition_property_code code, std::uint64_t value,
    const std::string& wanted, std::string_view remedy) {
    try {
        partition.set_property(code, value);
    } catch (const hv::HypervisorError& error) {
        if (error.status() == HV_STATUS_OPERATION_DENIED) {
            throw SettingsError(fmt::format("{}: found a host whose Linux schedules its VMs "
                                            "(scheduler=root), expected the hypervisor to; use "
                                            "nice or cgroups",
                wanted));
        }
        if (error.status() == HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE) {
            throw SettingsError(
                fmt::format("{}: found that this host can't give it; {}", wanted, remedy));
        }
        throw;
    }
}

} // namespace

void ask_for_share(hv::Partition& partition, const ProcessorSettings& settings) {
    const ProcessorSettings usual;
    if (settings.host_processors != 0) {
        ask(partition, HV_PARTITION_VP_PROPERTY_SCHEDULING_AFFINITY_SET, settings.host_processors,
            fmt::format("host processors {}", processor_list(settings.host_processors)),
            "name some that it has");
    }
    if (settings.node) {
        hv_proximity_domain_info info{};
        info.domain_id = *settings.node;
        info.proximity_preferred = 1;
        info.proximity_info_valid = 1;
        std::uint64_t value = 0;
        std::memcpy(&value, &info, sizeof value);
        ask(partition, HV_PARTITION_PROPERTY_PROXIMITY_DOMAIN, value,
            fmt::format("node {}", *settings.node), "name one with processors");
    }
    if (settings.weight != usual.weight) {
        ask(partition, HV_PARTITION_PROPERTY_CPU_WEIGHT, settings.weight,
            fmt::format("weight {}", settings.weight), "give another");
    }
    // A reserve is at most the cap.
    if (settings.limit != usual.limit) {
        ask(partition, HV_PARTITION_PROPERTY_CPU_CAP, fraction(settings.limit),
            fmt::format("cap of {} %", settings.limit / 1000.0), "give another");
    }
    if (settings.reservation != usual.reservation) {
        ask(partition, HV_PARTITION_PROPERTY_CPU_RESERVE, fraction(settings.reservation),
            fmt::format("reserve of {} % for each of {} processors", settings.reservation / 1000.0,
                settings.count),
            "reserve less, here or for other VMs: a quarter of each processor is the host's own");
    }
}

} // namespace croft::worker
