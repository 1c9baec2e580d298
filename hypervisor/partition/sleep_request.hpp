// SPDX-License-Identifier: Apache-2.0
// Sleep states asked for by a write to a PM1 control register (ACPI 6.4, 4.8.3.2.1).
#pragma once

#include <cstdint>
#include <optional>

namespace hypervisor::power {

inline constexpr unsigned sleep_type_shift = 10;
inline constexpr std::uint32_t sleep_type_mask = 7u << sleep_type_shift;
inline constexpr std::uint32_t sleep_enable = 1u << 13;

struct PortWrite {
    std::uint16_t port = 0;
    unsigned size = 0; ///< 1, 2 or 4 bytes
    std::uint32_t value = 0;
};

/// The SLP_TYP that a write sets together with SLP_EN, if it does: both are in the register's
/// second byte. \param control the register's port, 0 where there is none.
inline std::optional<std::uint8_t> sleep_type_asked(std::uint16_t control, const PortWrite& write) {
    const int second = control + 1;
    const int place = second - write.port;
    if (control == 0 || place < 0 || place >= static_cast<int>(write.size)) {
        return std::nullopt;
    }
    const std::uint32_t bits = (write.value >> (8 * place) & 0xff) << 8;
    if ((bits & sleep_enable) == 0) {
        return std::nullopt;
    }
    return static_cast<std::uint8_t>((bits & sleep_type_mask) >> sleep_type_shift);
}

} // namespace hypervisor::power
