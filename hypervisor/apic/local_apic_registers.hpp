// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hypervisor {

/// The local APIC's registers (APM vol. 2, 16.3.2; SDM vol. 3, 11.4.1), numbered so that one number
/// serves both modes: it lies at byte 16 * number of the xAPIC page and in MSR 0x800 + number
/// (SDM vol. 3, 11.12.1.2).
enum class ApicRegister : std::uint8_t {
    id = 0x02,
    version = 0x03,
    task_priority = 0x08,
    arbitration_priority = 0x09,
    processor_priority = 0x0A,
    end_of_interrupt = 0x0B,
    remote_read = 0x0C,
    logical_destination = 0x0D,
    destination_format = 0x0E,
    spurious_vector = 0x0F,
    in_service_first = 0x10,
    in_service_last = 0x17,
    trigger_mode_first = 0x18,
    trigger_mode_last = 0x1F,
    interrupt_request_first = 0x20,
    interrupt_request_last = 0x27,
    error_status = 0x28,
    lvt_machine_check = 0x2F,
    interrupt_command_low = 0x30,
    interrupt_command_high = 0x31,
    lvt_timer = 0x32,
    lvt_thermal = 0x33,
    lvt_performance = 0x34,
    lvt_pin0 = 0x35,
    lvt_pin1 = 0x36,
    lvt_error = 0x37,
    timer_initial_count = 0x38,
    timer_current_count = 0x39,
    timer_divide = 0x3E,
    self_interrupt = 0x3F,
};

/// The register's offset in the xAPIC page.
constexpr std::uint16_t apic_offset(ApicRegister which) {
    return std::uint16_t(std::uint16_t(which) << 4);
}

inline constexpr std::uint32_t x2apic_msr_first = 0x800;
inline constexpr std::uint32_t x2apic_msr_last = 0x8FF;

/// The register's MSR in x2APIC mode.
constexpr std::uint32_t apic_msr(ApicRegister which) {
    return x2apic_msr_first + std::uint32_t(which);
}

namespace apic_base {
inline constexpr std::uint64_t bootstrap = std::uint64_t{1} << 8;
inline constexpr std::uint64_t extended = std::uint64_t{1} << 10;
inline constexpr std::uint64_t enabled = std::uint64_t{1} << 11;
inline constexpr std::uint64_t address = 0xFEE00000;
} // namespace apic_base

namespace apic_spurious {
inline constexpr std::uint32_t vector = 0xFF;
inline constexpr std::uint32_t software_enable = 1U << 8;
inline constexpr std::uint32_t focus_disable = 1U << 9;
} // namespace apic_spurious

namespace apic_lvt {
inline constexpr std::uint32_t vector = 0xFF;
inline constexpr std::uint32_t delivery_mode = 7U << 8;
inline constexpr std::uint32_t delivery_status = 1U << 12;
inline constexpr std::uint32_t active_low = 1U << 13;
inline constexpr std::uint32_t remote_request = 1U << 14;
inline constexpr std::uint32_t level_triggered = 1U << 15;
inline constexpr std::uint32_t masked = 1U << 16;
inline constexpr std::uint32_t timer_periodic = 1U << 17;
inline constexpr std::uint32_t timer_tsc_deadline = 1U << 18;
} // namespace apic_lvt

/// What a register keeps of what is written to it.
namespace apic_kept {
inline constexpr std::uint32_t xapic_id = 0xFF000000;
inline constexpr std::uint32_t format_fixed = 0x0FFFFFFF; ///< reads as ones
inline constexpr std::uint32_t command = 0x000CCFFF;
inline constexpr std::uint32_t divide = 0b1011;
inline constexpr std::uint32_t spurious =
    apic_spurious::vector | apic_spurious::software_enable | apic_spurious::focus_disable;
inline constexpr std::uint32_t timer_mode = apic_lvt::timer_periodic | apic_lvt::timer_tsc_deadline;
} // namespace apic_kept

/// Version 0x14, an integrated APIC, whose last local vector table entry is number 5.
inline constexpr std::uint32_t apic_version = 0x00050014;

/// Bits of the error status register (APM vol. 2, 16.4.6).
namespace apic_error {
inline constexpr std::uint32_t sent_illegal_vector = 1U << 5;
inline constexpr std::uint32_t received_illegal_vector = 1U << 6;
inline constexpr std::uint32_t illegal_register = 1U << 7;
} // namespace apic_error

/// Vectors below are reserved for exceptions; an APIC neither sends nor takes them.
inline constexpr std::uint8_t first_legal_vector = 16;

} // namespace hypervisor
