// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/record.hpp"

#include <cstdint>

namespace croft::vdev {

/// Everything of the ACPI fixed hardware that its guest can see.
struct PowerState {
    std::uint16_t status = 0;
    std::uint16_t enable = 0;
    std::uint16_t control = 0;
    /// The PM timer's half period (its value over 2^31) when its carry was last looked at.
    std::uint64_t timer_half_periods = 0;

    [[nodiscard]] Record save() const;
    /// Errors: RecordError.
    [[nodiscard]] static PowerState load(const Record& record);
};

} // namespace croft::vdev
