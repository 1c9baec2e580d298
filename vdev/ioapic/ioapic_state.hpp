// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/bus.hpp"
#include "vdev/record.hpp"

#include <array>
#include <cstdint>

namespace croft::vdev {

/// Everything of an I/O APIC that its guest can see, and the levels of its pins.
struct IoApicState {
    static constexpr unsigned pin_count = Bus::line_count;
    /// The interrupt mask bit of a redirection entry (82093AA data sheet, 3.2.4).
    static constexpr std::uint64_t masked = std::uint64_t{1} << 16;

    IoApicState() { redirection.fill(masked); }

    std::uint8_t id = 0;
    std::uint8_t selected = 0;
    /// One bit for each pin that is asserted.
    std::uint32_t levels = 0;
    std::array<std::uint64_t, pin_count> redirection{};

    [[nodiscard]] Record save() const;
    /// Errors: RecordError.
    [[nodiscard]] static IoApicState load(const Record& record);
};

} // namespace croft::vdev
