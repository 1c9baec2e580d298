// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/record.hpp"

#include <cstdint>
#include <vector>

namespace croft::vdev {

/// Everything of a 16550 that its guest can see. Names are those of the registers.
struct UartState {
    static constexpr std::size_t fifo_size = 16;

    std::uint8_t interrupt_enable = 0;
    std::uint8_t fifo_control = 0;
    std::uint8_t line_control = 0;
    std::uint8_t modem_control = 0;
    std::uint8_t scratch = 0;
    /// At 9600 bit/s, what firmware leaves.
    std::uint16_t divisor = 12;
    bool overrun = false;
    /// An interrupt for "transmitter empty" is waiting to be read from the identification register.
    bool transmitter_empty_pending = false;
    /// Bytes received and not read yet, oldest first.
    std::vector<std::uint8_t> received;

    [[nodiscard]] Record save() const;
    /// Errors: RecordError.
    [[nodiscard]] static UartState load(const Record& record);
};

} // namespace croft::vdev
