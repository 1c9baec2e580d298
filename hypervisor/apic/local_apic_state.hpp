// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

namespace hypervisor {

/// A local APIC's state in the layout that HvGetVpState and HvSetVpState carry for the local
/// interrupt controller. The task priority isn't in it: it travels as CR8; the mode isn't either:
/// it travels as the APIC base register. Values are as the register of that name shows them.
struct LocalApicState {
    std::uint32_t id = 0;
    std::uint32_t version = 0;
    std::uint32_t logical_destination = 0;
    std::uint32_t destination_format = 0;
    std::uint32_t spurious_vector = 0;
    std::array<std::uint32_t, 8> in_service{};
    std::array<std::uint32_t, 8> trigger_mode{};
    std::array<std::uint32_t, 8> interrupt_request{};
    std::uint32_t error_status = 0; ///< what software reads
    std::uint32_t command_high = 0;
    std::uint32_t command_low = 0;
    std::uint32_t lvt_timer = 0;
    std::uint32_t lvt_thermal = 0;
    std::uint32_t lvt_performance = 0;
    std::uint32_t lvt_pin0 = 0;
    std::uint32_t lvt_pin1 = 0;
    std::uint32_t lvt_error = 0;
    std::uint32_t lvt_machine_check = 0;
    std::uint32_t pending_errors = 0; ///< gathered since, shown at the next write to the register
    std::uint32_t timer_initial_count = 0;
    std::uint32_t timer_current_count = 0;
    std::uint32_t timer_divide = 0;
    std::uint32_t remote_read = 0;

    bool operator==(const LocalApicState&) const = default;
};

static_assert(sizeof(LocalApicState) == 176);

} // namespace hypervisor
