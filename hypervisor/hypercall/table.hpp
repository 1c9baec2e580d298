// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/hypercall/call.hpp"

#include <span>

namespace hypervisor::hypercall {

/// All hypercalls that are implemented, in ascending order of their codes.
std::span<const CallEntry> table();
/// One of them, or null.
const CallEntry* find(std::uint64_t code);
/// What must be zero in the input of one of them.
std::span<const ReservedBits> reserved_bits(const CallEntry& entry);

// The handlers, by subject; each file of that name implements its own.

// partition_calls.cpp
Status create_partition(Call& call);
Status initialize_partition(Call& call);
Status finalize_partition(Call& call);
Status delete_partition(Call& call);
Status get_partition_id(Call& call);

// property_calls.cpp
Status get_partition_property(Call& call);
Status get_partition_property_ex(Call& call);
Status set_partition_property(Call& call);

// memory_calls.cpp
Status deposit_memory(Call& call);
Status withdraw_memory(Call& call);
Status get_memory_balance(Call& call);
Status map_gpa_pages(Call& call);
Status unmap_gpa_pages(Call& call);
Status get_gpa_pages_access_states(Call& call);
Status translate_virtual_address(Call& call);

// flush_calls.cpp
Status flush_virtual_address_space(Call& call);
Status flush_virtual_address_list(Call& call);
Status flush_virtual_address_space_ex(Call& call);
Status flush_virtual_address_list_ex(Call& call);

// vp_calls.cpp
Status create_vp(Call& call);
Status delete_vp(Call& call);
Status get_vp_registers(Call& call);
Status set_vp_registers(Call& call);
Status get_vp_state(Call& call);
Status set_vp_state(Call& call);
Status map_vp_state_page(Call& call);
Status unmap_vp_state_page(Call& call);
Status get_vp_index_from_apic_id(Call& call);
Status get_vp_cpuid_values(Call& call);

// intercept_calls.cpp
Status install_intercept(Call& call);
Status register_intercept_result(Call& call);
Status unregister_intercept_result(Call& call);

// interrupt_calls.cpp
Status assert_virtual_interrupt(Call& call);
Status clear_virtual_interrupt(Call& call);
Status send_synthetic_cluster_ipi(Call& call);
Status send_synthetic_cluster_ipi_ex(Call& call);
Status map_device_interrupt(Call& call);
Status unmap_device_interrupt(Call& call);
Status retarget_device_interrupt(Call& call);

// port_calls.cpp
Status create_port(Call& call);
Status delete_port(Call& call);
Status connect_port(Call& call);
Status disconnect_port(Call& call);
Status post_message(Call& call);
Status signal_event(Call& call);
Status signal_event_direct(Call& call);
Status post_message_direct(Call& call);
Status notify_port_ring_empty(Call& call);

// system_calls.cpp
Status get_logical_processor_run_time(Call& call);
Status add_logical_processor(Call& call);
Status notify_partition_event(Call& call);
Status get_system_property(Call& call);
Status set_system_property(Call& call);
Status enter_sleep_state(Call& call);
Status map_stats_page(Call& call);
Status unmap_stats_page(Call& call);

// scheduler_calls.cpp
Status dispatch_vp(Call& call);
Status notify_long_spin_wait(Call& call);

} // namespace hypervisor::hypercall
