// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/partition.hpp"

#include <memory>
#include <string>

namespace croft::hv {

/// The hypervisor that this machine runs on, as far as it lets this process make partitions.
class Hypervisor {
public:
    Hypervisor() = default;
    Hypervisor(const Hypervisor&) = delete;
    Hypervisor& operator=(const Hypervisor&) = delete;
    virtual ~Hypervisor() = default;

    /// Errors: HypervisorError, with ENOMEM if the machine's memory doesn't suffice.
    [[nodiscard]] virtual std::unique_ptr<Partition> create_partition(
        const PartitionSettings& settings) = 0;
};

/// Opens the device file of the root partition's driver.
/// Errors: HypervisorError if there is none, or none that answers.
[[nodiscard]] std::unique_ptr<Hypervisor> open_hypervisor(const std::string& path = "/dev/mshv");

} // namespace croft::hv
