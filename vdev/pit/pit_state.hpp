// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/record.hpp"

#include <array>
#include <cstdint>

namespace croft::vdev {

/// Everything of an 8254 and of port 0x61 that its guest can see.
struct PitState {
    static constexpr unsigned channel_count = 3;

    struct Channel {
        std::uint8_t mode = 0;
        /// How bytes are read and written: 1 low, 2 high, 3 low then high.
        std::uint8_t access = 3;
        bool gate = true;
        /// A count has been written since the mode was.
        bool loaded = false;
        /// 1 to 65536.
        std::uint32_t reload = 65536;
        /// When counting began, in nanoseconds of the VM's clock.
        std::uint64_t started = 0;
        bool write_high_next = false;
        bool read_high_next = false;
        std::uint8_t written_low = 0;
        bool count_latched = false;
        std::uint16_t latched_count = 0;
        bool status_latched = false;
        std::uint8_t latched_status = 0;
        /// Rising edges of the output that have been turned into interrupts since `started`.
        std::uint64_t edges_sent = 0;
    };

    std::array<Channel, channel_count> channels;
    /// Bit 0, the gate of channel 2, and bit 1, the speaker.
    std::uint8_t port_61 = 0;

    [[nodiscard]] Record save() const;
    /// Errors: RecordError.
    [[nodiscard]] static PitState load(const Record& record);
};

} // namespace croft::vdev
