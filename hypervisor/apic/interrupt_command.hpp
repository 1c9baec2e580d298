// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hypervisor {

/// Message types of interrupt messages, ICR and LVT (APM vol. 2, tables 16-2 and 16-4).
enum class DeliveryMode : std::uint8_t {
    fixed = 0,
    lowest_priority = 1,
    system_management = 2,
    remote_read = 3,
    non_maskable = 4,
    init = 5,
    startup = 6,
    external = 7,
};

enum class DestinationShorthand : std::uint8_t {
    none = 0,
    self = 1,
    all = 2,
    all_but_self = 3,
};

/// A physical destination that every APIC takes as meant for it.
inline constexpr std::uint32_t broadcast_destination = 0xFFFFFFFF;

/// What software asks for by the interrupt command register (APM vol. 2, 16.5; SDM vol. 3, 11.6.1).
struct InterruptCommand {
    DeliveryMode mode = DeliveryMode::fixed;
    std::uint8_t vector = 0;
    DestinationShorthand shorthand = DestinationShorthand::none;
    bool logical = false;
    bool asserted = false;
    bool level_triggered = false;
    /// Means nothing unless `shorthand` is none. Eight bits if an xAPIC sent it, but for its
    /// broadcast, which is widened.
    std::uint32_t destination = 0;

    bool operator==(const InterruptCommand&) const = default;
};

/// Takes the 64-bit register apart; `wide` says that the sender is in x2APIC mode.
constexpr InterruptCommand decode_interrupt_command(std::uint64_t value, bool wide) {
    std::uint32_t destination = std::uint32_t(value >> 32);
    if (!wide) {
        destination >>= 24;
        if (destination == 0xFF) {
            destination = broadcast_destination;
        }
    }
    return {
        .mode = DeliveryMode((value >> 8) & 7),
        .vector = std::uint8_t(value),
        .shorthand = DestinationShorthand((value >> 18) & 3),
        .logical = ((value >> 11) & 1) != 0,
        .asserted = ((value >> 14) & 1) != 0,
        .level_triggered = ((value >> 15) & 1) != 0,
        .destination = destination,
    };
}

} // namespace hypervisor
