// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/record.hpp"

#include <array>
#include <cstdint>

namespace croft::vdev {

/// Everything of an MC146818 that its guest can see. The time itself isn't here but follows the
/// world outside at a distance, so that a VM restored later shows the right time.
struct RtcState {
    static constexpr std::size_t memory_size = 128;

    std::uint8_t index = 0;
    /// The registers and the battery-backed memory behind them. The ten of the time and the flags
    /// are as they were last computed.
    std::array<std::uint8_t, memory_size> memory{};
    /// Seconds to add to the world's time (UTC) to get the guest's.
    std::int64_t offset = 0;
    /// The guest's time in nanoseconds since 1970 up to which flags have been computed.
    std::int64_t computed_until = 0;

    [[nodiscard]] Record save() const;
    /// Errors: RecordError.
    [[nodiscard]] static RtcState load(const Record& record);
};

} // namespace croft::vdev
