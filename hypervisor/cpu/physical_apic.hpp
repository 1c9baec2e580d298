// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hypervisor::physical_apic {

/// Vectors that are the hypervisor's own on every LP. Those of devices are below.
inline constexpr std::uint8_t timer_vector = 0xf0;
inline constexpr std::uint8_t kick_vector = 0xf1;
inline constexpr std::uint8_t spurious_vector = 0xff;
inline constexpr std::uint8_t first_device_vector = 0x20;
inline constexpr std::uint8_t last_device_vector = 0xef;

inline constexpr std::uint64_t page_address = 0xfee00000;

/// Enables the local APIC of this processor, all local sources masked.
void enable();
std::uint32_t id();
void end_of_interrupt();

void send_fixed(std::uint32_t apic_id, std::uint8_t vector);
/// May come between any two steps of the others: it leaves their destination alone.
void send_to_self(std::uint8_t vector);
void send_nmi(std::uint32_t apic_id);
void send_init(std::uint32_t apic_id);
/// \param page number of the page below 1 MiB where the processor starts, in real mode.
void send_startup(std::uint32_t apic_id, std::uint8_t page);

/// Starts the one-shot timer with a count of bus ticks; 0 stops it.
void start_timer(std::uint32_t ticks);
std::uint32_t timer_count();

} // namespace hypervisor::physical_apic
