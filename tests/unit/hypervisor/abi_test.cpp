// SPDX-License-Identifier: Apache-2.0
// The layouts of the published interface, read off upstream Linux (include/hyperv/*.h, as far as it
// has them) and the TLFS: a number here is one that somebody else has compiled in.
#include "abi/exit_trace.h"
#include "abi/hypercall.h"
#include "abi/interrupt.h"
#include "abi/memory.h"
#include "abi/message.h"
#include "abi/msr.h"
#include "abi/partition.h"
#include "abi/port.h"
#include "abi/register.h"
#include "abi/status.h"
#include "abi/synic.h"
#include "abi/system.h"
#include "abi/types.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <gtest/gtest.h>

namespace {

TEST(Abi, Types) {
    EXPECT_EQ(sizeof(hv_u128), 16u);
    EXPECT_EQ(offsetof(hv_u128, low), 0u);
    EXPECT_EQ(offsetof(hv_u128, high), 8u);
    EXPECT_EQ(sizeof(hv_vp_set), 16u);
    EXPECT_EQ(offsetof(hv_vp_set, format), 0u);
    EXPECT_EQ(offsetof(hv_vp_set, valid_bank_mask), 8u);
    EXPECT_EQ(offsetof(hv_vp_set, bank_contents), 16u);
    EXPECT_EQ(sizeof(hv_input_vtl), 1u);
    EXPECT_EQ(sizeof(hv_proximity_domain_info), 8u);
    EXPECT_EQ(offsetof(hv_proximity_domain_info, domain_id), 0u);
}

TEST(Abi, Interrupt) {
    EXPECT_EQ(sizeof(hv_interrupt_control), 8u);
    EXPECT_EQ(offsetof(hv_interrupt_control, interrupt_type), 0u);
    EXPECT_EQ(sizeof(hv_input_assert_virtual_interrupt), 32u);
    EXPECT_EQ(offsetof(hv_input_assert_virtual_interrupt, partition_id), 0u);
    EXPECT_EQ(offsetof(hv_input_assert_virtual_interrupt, control), 8u);
    EXPECT_EQ(offsetof(hv_input_assert_virtual_interrupt, dest_addr), 16u);
    EXPECT_EQ(offsetof(hv_input_assert_virtual_interrupt, vector), 24u);
    EXPECT_EQ(offsetof(hv_input_assert_virtual_interrupt, target_vtl), 28u);
    EXPECT_EQ(sizeof(hv_interrupt_entry), 16u);
    EXPECT_EQ(offsetof(hv_interrupt_entry, source), 0u);
    EXPECT_EQ(offsetof(hv_interrupt_entry, msi), 8u);
    EXPECT_EQ(offsetof(hv_interrupt_entry, ioapic_rte), 8u);
    EXPECT_EQ(sizeof(hv_device_interrupt_target), 24u);
    EXPECT_EQ(offsetof(hv_device_interrupt_target, vector), 0u);
    EXPECT_EQ(offsetof(hv_device_interrupt_target, flags), 4u);
    EXPECT_EQ(offsetof(hv_device_interrupt_target, vp_mask), 8u);
    EXPECT_EQ(offsetof(hv_device_interrupt_target, vp_set), 8u);
    EXPECT_EQ(sizeof(hv_input_map_device_interrupt), 80u);
    EXPECT_EQ(offsetof(hv_input_map_device_interrupt, partition_id), 0u);
    EXPECT_EQ(offsetof(hv_input_map_device_interrupt, device_id), 8u);
    EXPECT_EQ(offsetof(hv_input_map_device_interrupt, flags), 16u);
    EXPECT_EQ(offsetof(hv_input_map_device_interrupt, base_irt_idx), 20u);
    EXPECT_EQ(offsetof(hv_input_map_device_interrupt, logical_interrupt_entry), 24u);
    EXPECT_EQ(offsetof(hv_input_map_device_interrupt, interrupt_type), 40u);
    EXPECT_EQ(offsetof(hv_input_map_device_interrupt, trigger_mode), 44u);
    EXPECT_EQ(offsetof(hv_input_map_device_interrupt, vector_count), 48u);
    EXPECT_EQ(offsetof(hv_input_map_device_interrupt, target), 56u);
    EXPECT_EQ(sizeof(hv_output_map_device_interrupt), 56u);
    EXPECT_EQ(offsetof(hv_output_map_device_interrupt, interrupt_entry), 0u);
    EXPECT_EQ(offsetof(hv_output_map_device_interrupt, ext_status_deprecated), 16u);
    EXPECT_EQ(sizeof(hv_input_unmap_device_interrupt), 36u);
    EXPECT_EQ(offsetof(hv_input_unmap_device_interrupt, partition_id), 0u);
    EXPECT_EQ(offsetof(hv_input_unmap_device_interrupt, device_id), 8u);
    EXPECT_EQ(offsetof(hv_input_unmap_device_interrupt, interrupt_entry), 16u);
    EXPECT_EQ(offsetof(hv_input_unmap_device_interrupt, flags), 32u);
    EXPECT_EQ(sizeof(hv_input_send_synthetic_cluster_ipi), 16u);
    EXPECT_EQ(offsetof(hv_input_send_synthetic_cluster_ipi, vector), 0u);
    EXPECT_EQ(offsetof(hv_input_send_synthetic_cluster_ipi, processor_mask), 8u);
    EXPECT_EQ(sizeof(hv_input_send_synthetic_cluster_ipi_ex), 24u);
    EXPECT_EQ(offsetof(hv_input_send_synthetic_cluster_ipi_ex, vector), 0u);
    EXPECT_EQ(offsetof(hv_input_send_synthetic_cluster_ipi_ex, vp_set), 8u);
}

TEST(Abi, Memory) {
    EXPECT_EQ(sizeof(hv_input_map_gpa_pages), 24u);
    EXPECT_EQ(offsetof(hv_input_map_gpa_pages, target_partition_id), 0u);
    EXPECT_EQ(offsetof(hv_input_map_gpa_pages, target_gpa_base), 8u);
    EXPECT_EQ(offsetof(hv_input_map_gpa_pages, map_flags), 16u);
    EXPECT_EQ(offsetof(hv_input_map_gpa_pages, source_gpa_page_list), 24u);
    EXPECT_EQ(sizeof(hv_input_unmap_gpa_pages), 24u);
    EXPECT_EQ(offsetof(hv_input_unmap_gpa_pages, target_partition_id), 0u);
    EXPECT_EQ(offsetof(hv_input_unmap_gpa_pages, target_gpa_base), 8u);
    EXPECT_EQ(offsetof(hv_input_unmap_gpa_pages, unmap_flags), 16u);
    EXPECT_EQ(sizeof(hv_input_get_gpa_pages_access_state), 24u);
    EXPECT_EQ(offsetof(hv_input_get_gpa_pages_access_state, partition_id), 0u);
    EXPECT_EQ(offsetof(hv_input_get_gpa_pages_access_state, flags), 8u);
    EXPECT_EQ(offsetof(hv_input_get_gpa_pages_access_state, gpa_page_number), 16u);
    EXPECT_EQ(sizeof(hv_input_translate_virtual_address), 32u);
    EXPECT_EQ(offsetof(hv_input_translate_virtual_address, partition_id), 0u);
    EXPECT_EQ(offsetof(hv_input_translate_virtual_address, vp_index), 8u);
    EXPECT_EQ(offsetof(hv_input_translate_virtual_address, control_flags), 16u);
    EXPECT_EQ(offsetof(hv_input_translate_virtual_address, gva_page), 24u);
    EXPECT_EQ(sizeof(hv_output_translate_virtual_address), 16u);
    EXPECT_EQ(offsetof(hv_output_translate_virtual_address, result_code), 0u);
    EXPECT_EQ(offsetof(hv_output_translate_virtual_address, gpa_page), 8u);
    EXPECT_EQ(sizeof(hv_input_flush_virtual_address_space), 24u);
    EXPECT_EQ(offsetof(hv_input_flush_virtual_address_space, address_space), 0u);
    EXPECT_EQ(offsetof(hv_input_flush_virtual_address_space, flags), 8u);
    EXPECT_EQ(offsetof(hv_input_flush_virtual_address_space, processor_mask), 16u);
    EXPECT_EQ(sizeof(hv_input_flush_virtual_address_space_ex), 32u);
    EXPECT_EQ(offsetof(hv_input_flush_virtual_address_space_ex, vp_set), 16u);
}

TEST(Abi, SchedulingByTheRoot) {
    EXPECT_EQ(sizeof(hv_input_dispatch_vp), 32u);
    EXPECT_EQ(offsetof(hv_input_dispatch_vp, vp_index), 8u);
    EXPECT_EQ(offsetof(hv_input_dispatch_vp, flags), 12u);
    EXPECT_EQ(offsetof(hv_input_dispatch_vp, time_slice), 16u);
    EXPECT_EQ(offsetof(hv_input_dispatch_vp, spec_ctrl), 24u);
    EXPECT_EQ(sizeof(hv_output_dispatch_vp), 8u);
    EXPECT_EQ(offsetof(hv_output_dispatch_vp, dispatch_event), 4u);
    EXPECT_EQ(sizeof(hv_vp_signal_bitset_scheduler_message), 40u);
    EXPECT_EQ(offsetof(hv_vp_signal_bitset_scheduler_message, vp_count), 12u);
    EXPECT_EQ(offsetof(hv_vp_signal_bitset_scheduler_message, format), 16u);
    EXPECT_EQ(offsetof(hv_vp_signal_bitset_scheduler_message, valid_bank_mask), 24u);
    EXPECT_EQ(offsetof(hv_vp_signal_bitset_scheduler_message, bank_contents), 32u);
    EXPECT_EQ(offsetof(hv_vp_register_page, interrupt_vectors) % 8, 0u);
}

TEST(Abi, Message) {
    EXPECT_EQ(sizeof(hv_message_header), 16u);
    EXPECT_EQ(offsetof(hv_message_header, message_type), 0u);
    EXPECT_EQ(offsetof(hv_message_header, payload_size), 4u);
    EXPECT_EQ(offsetof(hv_message_header, message_flags), 5u);
    EXPECT_EQ(offsetof(hv_message_header, sender), 8u);
    EXPECT_EQ(offsetof(hv_message_header, port), 8u);
    EXPECT_EQ(sizeof(hv_message), 256u);
    EXPECT_EQ(offsetof(hv_message, payload), 16u);
    EXPECT_EQ(sizeof(hv_opaque_intercept_message), 4u);
    EXPECT_EQ(offsetof(hv_opaque_intercept_message, vp_index), 0u);
    EXPECT_EQ(sizeof(hv_notification_message_payload), 4u);
    EXPECT_EQ(offsetof(hv_notification_message_payload, sint_index), 0u);
    EXPECT_EQ(sizeof(hv_timer_message_payload), 24u);
    EXPECT_EQ(offsetof(hv_timer_message_payload, timer_index), 0u);
    EXPECT_EQ(offsetof(hv_timer_message_payload, expiration_time), 8u);
    EXPECT_EQ(offsetof(hv_timer_message_payload, delivery_time), 16u);
    EXPECT_EQ(sizeof(hv_x64_vp_execution_state), 2u);
    EXPECT_EQ(sizeof(hv_x64_intercept_message_header), 40u);
    EXPECT_EQ(offsetof(hv_x64_intercept_message_header, vp_index), 0u);
    EXPECT_EQ(offsetof(hv_x64_intercept_message_header, intercept_access_type), 5u);
    EXPECT_EQ(offsetof(hv_x64_intercept_message_header, execution_state), 6u);
    EXPECT_EQ(offsetof(hv_x64_intercept_message_header, cs_segment), 8u);
    EXPECT_EQ(offsetof(hv_x64_intercept_message_header, rip), 24u);
    EXPECT_EQ(offsetof(hv_x64_intercept_message_header, rflags), 32u);
    EXPECT_EQ(sizeof(hv_x64_memory_intercept_message), 80u);
    EXPECT_EQ(offsetof(hv_x64_memory_intercept_message, cache_type), 40u);
    EXPECT_EQ(offsetof(hv_x64_memory_intercept_message, instruction_byte_count), 44u);
    EXPECT_EQ(offsetof(hv_x64_memory_intercept_message, tpr_priority), 46u);
    EXPECT_EQ(offsetof(hv_x64_memory_intercept_message, guest_virtual_address), 48u);
    EXPECT_EQ(offsetof(hv_x64_memory_intercept_message, guest_physical_address), 56u);
    EXPECT_EQ(offsetof(hv_x64_memory_intercept_message, instruction_bytes), 64u);
    EXPECT_EQ(sizeof(hv_x64_io_port_intercept_message), 128u);
    EXPECT_EQ(offsetof(hv_x64_io_port_intercept_message, port_number), 40u);
    EXPECT_EQ(offsetof(hv_x64_io_port_intercept_message, instruction_byte_count), 43u);
    EXPECT_EQ(offsetof(hv_x64_io_port_intercept_message, rax), 48u);
    EXPECT_EQ(offsetof(hv_x64_io_port_intercept_message, instruction_bytes), 56u);
    EXPECT_EQ(offsetof(hv_x64_io_port_intercept_message, ds_segment), 72u);
    EXPECT_EQ(offsetof(hv_x64_io_port_intercept_message, es_segment), 88u);
    EXPECT_EQ(offsetof(hv_x64_io_port_intercept_message, rcx), 104u);
    EXPECT_EQ(offsetof(hv_x64_io_port_intercept_message, rsi), 112u);
    EXPECT_EQ(offsetof(hv_x64_io_port_intercept_message, rdi), 120u);
    EXPECT_EQ(sizeof(hv_x64_msr_intercept_message), 64u);
    EXPECT_EQ(offsetof(hv_x64_msr_intercept_message, msr_number), 40u);
    EXPECT_EQ(offsetof(hv_x64_msr_intercept_message, rdx), 48u);
    EXPECT_EQ(offsetof(hv_x64_msr_intercept_message, rax), 56u);
    EXPECT_EQ(sizeof(hv_x64_cpuid_intercept_message), 104u);
    EXPECT_EQ(offsetof(hv_x64_cpuid_intercept_message, rax), 40u);
    EXPECT_EQ(offsetof(hv_x64_cpuid_intercept_message, rcx), 48u);
    EXPECT_EQ(offsetof(hv_x64_cpuid_intercept_message, rdx), 56u);
    EXPECT_EQ(offsetof(hv_x64_cpuid_intercept_message, rbx), 64u);
    EXPECT_EQ(offsetof(hv_x64_cpuid_intercept_message, default_result_rax), 72u);
    EXPECT_EQ(offsetof(hv_x64_cpuid_intercept_message, default_result_rbx), 96u);
    EXPECT_EQ(sizeof(hv_x64_exception_intercept_message), 240u);
    EXPECT_EQ(offsetof(hv_x64_exception_intercept_message, exception_vector), 40u);
    EXPECT_EQ(offsetof(hv_x64_exception_intercept_message, instruction_byte_count), 43u);
    EXPECT_EQ(offsetof(hv_x64_exception_intercept_message, error_code), 44u);
    EXPECT_EQ(offsetof(hv_x64_exception_intercept_message, exception_parameter), 48u);
    EXPECT_EQ(offsetof(hv_x64_exception_intercept_message, instruction_bytes), 64u);
    EXPECT_EQ(offsetof(hv_x64_exception_intercept_message, ds_segment), 80u);
    EXPECT_EQ(offsetof(hv_x64_exception_intercept_message, ss_segment), 96u);
    EXPECT_EQ(offsetof(hv_x64_exception_intercept_message, gp_registers), 112u);
    EXPECT_EQ(sizeof(hv_x64_halt_message), 40u);
    EXPECT_EQ(sizeof(hv_x64_unrecoverable_exception_message), 40u);
    EXPECT_EQ(sizeof(hv_x64_sint_deliverable_message), 48u);
    EXPECT_EQ(offsetof(hv_x64_sint_deliverable_message, deliverable_sints), 40u);
    EXPECT_EQ(sizeof(hv_x64_apic_eoi_message), 8u);
    EXPECT_EQ(offsetof(hv_x64_apic_eoi_message, vp_index), 0u);
    EXPECT_EQ(offsetof(hv_x64_apic_eoi_message, interrupt_vector), 4u);
}

TEST(Abi, Partition) {
    EXPECT_EQ(sizeof(hv_input_create_partition), 56u);
    EXPECT_EQ(offsetof(hv_input_create_partition, flags), 0u);
    EXPECT_EQ(offsetof(hv_input_create_partition, proximity_domain_info), 8u);
    EXPECT_EQ(offsetof(hv_input_create_partition, compatibility_version), 16u);
    EXPECT_EQ(offsetof(hv_input_create_partition, disabled_processor_features), 24u);
    EXPECT_EQ(offsetof(hv_input_create_partition, disabled_processor_xsave_features), 40u);
    EXPECT_EQ(offsetof(hv_input_create_partition, isolation_properties), 48u);
    EXPECT_EQ(sizeof(hv_output_create_partition), 8u);
    EXPECT_EQ(sizeof(hv_input_partition), 8u);
    EXPECT_EQ(sizeof(hv_output_get_partition_id), 8u);
    EXPECT_EQ(sizeof(hv_input_deposit_memory), 8u);
    EXPECT_EQ(offsetof(hv_input_deposit_memory, gpa_page_list), 8u);
    EXPECT_EQ(sizeof(hv_input_withdraw_memory), 16u);
    EXPECT_EQ(offsetof(hv_input_withdraw_memory, proximity_domain_info), 8u);
    EXPECT_EQ(sizeof(hv_input_get_memory_balance), 16u);
    EXPECT_EQ(sizeof(hv_output_get_memory_balance), 16u);
    EXPECT_EQ(offsetof(hv_output_get_memory_balance, pages_available), 0u);
    EXPECT_EQ(offsetof(hv_output_get_memory_balance, pages_in_use), 8u);
    EXPECT_EQ(sizeof(hv_input_get_partition_property), 16u);
    EXPECT_EQ(offsetof(hv_input_get_partition_property, property_code), 8u);
    EXPECT_EQ(sizeof(hv_output_get_partition_property), 8u);
    EXPECT_EQ(sizeof(hv_input_set_partition_property), 24u);
    EXPECT_EQ(offsetof(hv_input_set_partition_property, property_code), 8u);
    EXPECT_EQ(offsetof(hv_input_set_partition_property, property_value), 16u);
    EXPECT_EQ(sizeof(hv_input_get_partition_property_ex), 24u);
    EXPECT_EQ(offsetof(hv_input_get_partition_property_ex, property_code), 8u);
    EXPECT_EQ(offsetof(hv_input_get_partition_property_ex, arg), 16u);
    EXPECT_EQ(sizeof(hv_partition_property_banks), 16u);
    EXPECT_EQ(offsetof(hv_partition_property_banks, bank_count), 0u);
    EXPECT_EQ(offsetof(hv_partition_property_banks, bank0), 8u);
    EXPECT_EQ(sizeof(hv_output_get_partition_property_ex), 4072u);
    EXPECT_EQ(sizeof(hv_input_create_vp), 40u);
    EXPECT_EQ(offsetof(hv_input_create_vp, vp_index), 8u);
    EXPECT_EQ(offsetof(hv_input_create_vp, subnode_type), 15u);
    EXPECT_EQ(offsetof(hv_input_create_vp, subnode_id), 16u);
    EXPECT_EQ(offsetof(hv_input_create_vp, proximity_domain_info), 24u);
    EXPECT_EQ(offsetof(hv_input_create_vp, flags), 32u);
    EXPECT_EQ(sizeof(hv_input_delete_vp), 16u);
    EXPECT_EQ(offsetof(hv_input_delete_vp, vp_index), 8u);
    EXPECT_EQ(sizeof(hv_input_map_vp_state_page), 24u);
    EXPECT_EQ(offsetof(hv_input_map_vp_state_page, vp_index), 8u);
    EXPECT_EQ(offsetof(hv_input_map_vp_state_page, type), 12u);
    EXPECT_EQ(offsetof(hv_input_map_vp_state_page, input_vtl), 14u);
    EXPECT_EQ(offsetof(hv_input_map_vp_state_page, flags), 15u);
    EXPECT_EQ(offsetof(hv_input_map_vp_state_page, requested_map_location), 16u);
    EXPECT_EQ(sizeof(hv_output_map_vp_state_page), 8u);
    EXPECT_EQ(sizeof(hv_input_unmap_vp_state_page), 16u);
    EXPECT_EQ(offsetof(hv_input_unmap_vp_state_page, type), 12u);
    EXPECT_EQ(offsetof(hv_input_unmap_vp_state_page, input_vtl), 14u);
    EXPECT_EQ(sizeof(hv_input_vp_state), 40u);
    EXPECT_EQ(offsetof(hv_input_vp_state, vp_index), 8u);
    EXPECT_EQ(offsetof(hv_input_vp_state, input_vtl), 12u);
    EXPECT_EQ(offsetof(hv_input_vp_state, type), 16u);
    EXPECT_EQ(offsetof(hv_input_vp_state, xsave_flags), 24u);
    EXPECT_EQ(offsetof(hv_input_vp_state, xsave_states), 32u);
    EXPECT_EQ(offsetof(hv_input_vp_state, data), 40u);
    EXPECT_EQ(sizeof(hv_input_get_vp_index_from_apic_id), 16u);
    EXPECT_EQ(offsetof(hv_input_get_vp_index_from_apic_id, target_vtl), 8u);
    EXPECT_EQ(offsetof(hv_input_get_vp_index_from_apic_id, apic_ids), 16u);
    EXPECT_EQ(sizeof(hv_cpuid_leaf_info), 24u);
    EXPECT_EQ(offsetof(hv_cpuid_leaf_info, eax), 0u);
    EXPECT_EQ(offsetof(hv_cpuid_leaf_info, ecx), 4u);
    EXPECT_EQ(offsetof(hv_cpuid_leaf_info, xfem), 8u);
    EXPECT_EQ(offsetof(hv_cpuid_leaf_info, xss), 16u);
    EXPECT_EQ(sizeof(hv_input_get_vp_cpuid_values), 24u);
    EXPECT_EQ(offsetof(hv_input_get_vp_cpuid_values, vp_index), 8u);
    EXPECT_EQ(offsetof(hv_input_get_vp_cpuid_values, flags), 12u);
    EXPECT_EQ(offsetof(hv_input_get_vp_cpuid_values, leaves), 24u);
    EXPECT_EQ(sizeof(hv_output_get_vp_cpuid_values), 16u);
    EXPECT_EQ(offsetof(hv_output_get_vp_cpuid_values, eax), 0u);
    EXPECT_EQ(offsetof(hv_output_get_vp_cpuid_values, ebx), 4u);
    EXPECT_EQ(offsetof(hv_output_get_vp_cpuid_values, ecx), 8u);
    EXPECT_EQ(offsetof(hv_output_get_vp_cpuid_values, edx), 12u);
    EXPECT_EQ(sizeof(hv_input_install_intercept), 24u);
    EXPECT_EQ(offsetof(hv_input_install_intercept, access_type), 8u);
    EXPECT_EQ(offsetof(hv_input_install_intercept, intercept_type), 12u);
    EXPECT_EQ(offsetof(hv_input_install_intercept, intercept_parameter), 16u);
    EXPECT_EQ(sizeof(hv_input_register_intercept_result), 60u);
    EXPECT_EQ(offsetof(hv_input_register_intercept_result, intercept_type), 12u);
    EXPECT_EQ(offsetof(hv_input_register_intercept_result, cpuid.input.ecx), 20u);
    EXPECT_EQ(offsetof(hv_input_register_intercept_result, cpuid.input.always_override), 25u);
    EXPECT_EQ(offsetof(hv_input_register_intercept_result, cpuid.result.eax), 28u);
    EXPECT_EQ(offsetof(hv_input_register_intercept_result, cpuid.result.edx_mask), 56u);
    EXPECT_EQ(offsetof(hv_input_register_intercept_result, msr.msr_index), 16u);
    EXPECT_EQ(offsetof(hv_input_register_intercept_result, msr.action), 24u);
    EXPECT_EQ(sizeof(hv_input_unregister_intercept_result), 28u);
    EXPECT_EQ(offsetof(hv_input_unregister_intercept_result, cpuid.ecx), 20u);
}

/// This one is ours; programs outside of the tree may be built for it all the same.
TEST(Abi, ExitTrace) {
    EXPECT_EQ(sizeof(hv_exit_trace_record), 64u);
    EXPECT_EQ(offsetof(hv_exit_trace_record, sequence), 0u);
    EXPECT_EQ(offsetof(hv_exit_trace_record, time), 8u);
    EXPECT_EQ(offsetof(hv_exit_trace_record, partition_id), 16u);
    EXPECT_EQ(offsetof(hv_exit_trace_record, rip), 24u);
    EXPECT_EQ(offsetof(hv_exit_trace_record, detail), 32u);
    EXPECT_EQ(offsetof(hv_exit_trace_record, value), 40u);
    EXPECT_EQ(offsetof(hv_exit_trace_record, vp_index), 48u);
    EXPECT_EQ(offsetof(hv_exit_trace_record, reason), 50u);
    EXPECT_EQ(offsetof(hv_exit_trace_record, outcome), 51u);
    EXPECT_EQ(offsetof(hv_exit_trace_record, code), 52u);
    EXPECT_EQ(offsetof(hv_exit_trace_record, duration), 56u);
    EXPECT_EQ(offsetof(hv_exit_trace_record, guest_duration), 60u);
    EXPECT_EQ(sizeof(hv_exit_trace), 4072u);
    EXPECT_EQ(offsetof(hv_exit_trace, count), 0u);
    EXPECT_EQ(offsetof(hv_exit_trace, lp_count), 4u);
    EXPECT_EQ(offsetof(hv_exit_trace, lost), 8u);
    EXPECT_EQ(offsetof(hv_exit_trace, time), 16u);
    EXPECT_EQ(offsetof(hv_exit_trace, open_since), 24u);
    EXPECT_EQ(offsetof(hv_exit_trace, tsc_frequency), 32u);
    EXPECT_EQ(offsetof(hv_exit_trace, records), 40u);
}

TEST(Abi, Port) {
    EXPECT_EQ(sizeof(hv_port_info), 24u);
    EXPECT_EQ(offsetof(hv_port_info, port_type), 0u);
    EXPECT_EQ(offsetof(hv_port_info, doorbell), 8u);
    EXPECT_EQ(offsetof(hv_port_info, event), 8u);
    EXPECT_EQ(offsetof(hv_port_info, message), 8u);
    EXPECT_EQ(sizeof(hv_connection_info), 32u);
    EXPECT_EQ(offsetof(hv_connection_info, port_type), 0u);
    EXPECT_EQ(offsetof(hv_connection_info, doorbell), 8u);
    EXPECT_EQ(sizeof(hv_input_create_port), 56u);
    EXPECT_EQ(offsetof(hv_input_create_port, port_partition_id), 0u);
    EXPECT_EQ(offsetof(hv_input_create_port, port_id), 8u);
    EXPECT_EQ(offsetof(hv_input_create_port, port_vtl), 12u);
    EXPECT_EQ(offsetof(hv_input_create_port, min_connection_vtl), 13u);
    EXPECT_EQ(offsetof(hv_input_create_port, connection_partition_id), 16u);
    EXPECT_EQ(offsetof(hv_input_create_port, port_info), 24u);
    EXPECT_EQ(offsetof(hv_input_create_port, proximity_domain_info), 48u);
    EXPECT_EQ(sizeof(hv_input_delete_port), 16u);
    EXPECT_EQ(offsetof(hv_input_delete_port, port_id), 8u);
    EXPECT_EQ(sizeof(hv_input_connect_port), 72u);
    EXPECT_EQ(offsetof(hv_input_connect_port, connection_partition_id), 0u);
    EXPECT_EQ(offsetof(hv_input_connect_port, connection_id), 8u);
    EXPECT_EQ(offsetof(hv_input_connect_port, connection_vtl), 12u);
    EXPECT_EQ(offsetof(hv_input_connect_port, port_partition_id), 16u);
    EXPECT_EQ(offsetof(hv_input_connect_port, port_id), 24u);
    EXPECT_EQ(offsetof(hv_input_connect_port, connection_info), 32u);
    EXPECT_EQ(offsetof(hv_input_connect_port, proximity_domain_info), 64u);
    EXPECT_EQ(sizeof(hv_input_disconnect_port), 16u);
    EXPECT_EQ(offsetof(hv_input_disconnect_port, connection_id), 8u);
    EXPECT_EQ(sizeof(hv_input_notify_port_ring_empty), 8u);
    EXPECT_EQ(offsetof(hv_input_notify_port_ring_empty, sint_index), 0u);
    EXPECT_EQ(sizeof(hv_input_signal_event), 8u);
    EXPECT_EQ(offsetof(hv_input_signal_event, connection_id), 0u);
    EXPECT_EQ(offsetof(hv_input_signal_event, flag_number), 4u);
    EXPECT_EQ(sizeof(hv_input_post_message), 256u);
    EXPECT_EQ(offsetof(hv_input_post_message, connection_id), 0u);
    EXPECT_EQ(offsetof(hv_input_post_message, message_type), 8u);
    EXPECT_EQ(offsetof(hv_input_post_message, payload_size), 12u);
    EXPECT_EQ(offsetof(hv_input_post_message, payload), 16u);
    EXPECT_EQ(sizeof(hv_input_signal_event_direct), 16u);
    EXPECT_EQ(offsetof(hv_input_signal_event_direct, target_partition), 0u);
    EXPECT_EQ(offsetof(hv_input_signal_event_direct, target_vp), 8u);
    EXPECT_EQ(offsetof(hv_input_signal_event_direct, target_vtl), 12u);
    EXPECT_EQ(offsetof(hv_input_signal_event_direct, target_sint), 13u);
    EXPECT_EQ(offsetof(hv_input_signal_event_direct, flag_number), 14u);
    EXPECT_EQ(sizeof(hv_output_signal_event_direct), 8u);
    EXPECT_EQ(offsetof(hv_output_signal_event_direct, newly_signaled), 0u);
}

TEST(Abi, Register) {
    EXPECT_EQ(sizeof(hv_x64_segment_register), 16u);
    EXPECT_EQ(offsetof(hv_x64_segment_register, base), 0u);
    EXPECT_EQ(offsetof(hv_x64_segment_register, limit), 8u);
    EXPECT_EQ(offsetof(hv_x64_segment_register, selector), 12u);
    EXPECT_EQ(offsetof(hv_x64_segment_register, attributes), 14u);
    EXPECT_EQ(sizeof(hv_x64_table_register), 16u);
    EXPECT_EQ(offsetof(hv_x64_table_register, limit), 6u);
    EXPECT_EQ(offsetof(hv_x64_table_register, base), 8u);
    EXPECT_EQ(sizeof(hv_x64_pending_interruption_register), 8u);
    EXPECT_EQ(offsetof(hv_x64_pending_interruption_register, error_code), 4u);
    EXPECT_EQ(sizeof(hv_x64_interrupt_state_register), 8u);
    EXPECT_EQ(sizeof(hv_x64_fp_control_status_register), 16u);
    EXPECT_EQ(offsetof(hv_x64_fp_control_status_register, fp_control), 0u);
    EXPECT_EQ(offsetof(hv_x64_fp_control_status_register, fp_status), 2u);
    EXPECT_EQ(offsetof(hv_x64_fp_control_status_register, fp_tag), 4u);
    EXPECT_EQ(offsetof(hv_x64_fp_control_status_register, last_fp_op), 6u);
    EXPECT_EQ(offsetof(hv_x64_fp_control_status_register, last_fp_rip), 8u);
    EXPECT_EQ(sizeof(hv_x64_xmm_control_status_register), 16u);
    EXPECT_EQ(offsetof(hv_x64_xmm_control_status_register, last_fp_rdp), 0u);
    EXPECT_EQ(offsetof(hv_x64_xmm_control_status_register, xmm_status_control), 8u);
    EXPECT_EQ(offsetof(hv_x64_xmm_control_status_register, xmm_status_control_mask), 12u);
    EXPECT_EQ(sizeof(hv_register_value), 16u);
    EXPECT_EQ(sizeof(hv_register_assoc), 32u);
    EXPECT_EQ(offsetof(hv_register_assoc, name), 0u);
    EXPECT_EQ(offsetof(hv_register_assoc, value), 16u);
    EXPECT_EQ(sizeof(hv_input_get_vp_registers), 16u);
    EXPECT_EQ(offsetof(hv_input_get_vp_registers, vp_index), 8u);
    EXPECT_EQ(offsetof(hv_input_get_vp_registers, input_vtl), 12u);
    EXPECT_EQ(offsetof(hv_input_get_vp_registers, names), 16u);
    EXPECT_EQ(sizeof(hv_input_set_vp_registers), 16u);
    EXPECT_EQ(offsetof(hv_input_set_vp_registers, vp_index), 8u);
    EXPECT_EQ(offsetof(hv_input_set_vp_registers, input_vtl), 12u);
    EXPECT_EQ(offsetof(hv_input_set_vp_registers, elements), 16u);
    EXPECT_EQ(sizeof(hv_vp_register_page), 696u);
    EXPECT_EQ(offsetof(hv_vp_register_page, version), 0u);
    EXPECT_EQ(offsetof(hv_vp_register_page, is_valid), 2u);
    EXPECT_EQ(offsetof(hv_vp_register_page, dirty), 4u);
    EXPECT_EQ(offsetof(hv_vp_register_page, gp_registers), 8u);
    EXPECT_EQ(offsetof(hv_vp_register_page, rip), 136u);
    EXPECT_EQ(offsetof(hv_vp_register_page, rflags), 144u);
    EXPECT_EQ(offsetof(hv_vp_register_page, xmm_registers), 160u);
    EXPECT_EQ(offsetof(hv_vp_register_page, segment_registers), 256u);
    EXPECT_EQ(offsetof(hv_vp_register_page, cr0), 352u);
    EXPECT_EQ(offsetof(hv_vp_register_page, cr3), 360u);
    EXPECT_EQ(offsetof(hv_vp_register_page, cr4), 368u);
    EXPECT_EQ(offsetof(hv_vp_register_page, cr8), 376u);
    EXPECT_EQ(offsetof(hv_vp_register_page, efer), 384u);
    EXPECT_EQ(offsetof(hv_vp_register_page, dr7), 392u);
    EXPECT_EQ(offsetof(hv_vp_register_page, pending_interruption), 400u);
    EXPECT_EQ(offsetof(hv_vp_register_page, interrupt_state), 408u);
    EXPECT_EQ(offsetof(hv_vp_register_page, instruction_emulation_hints), 416u);
    EXPECT_EQ(offsetof(hv_vp_register_page, xfem), 424u);
    EXPECT_EQ(offsetof(hv_vp_register_page, interrupt_vectors), 688u);
}

TEST(Abi, Synic) {
    EXPECT_EQ(sizeof(hv_synic_sint), 8u);
    EXPECT_EQ(sizeof(hv_message_page), 4096u);
    EXPECT_EQ(sizeof(hv_synic_event_flags_page), 4096u);
    EXPECT_EQ(sizeof(hv_synic_event_ring), 256u);
    EXPECT_EQ(offsetof(hv_synic_event_ring, signal_masked), 0u);
    EXPECT_EQ(offsetof(hv_synic_event_ring, ring_full), 1u);
    EXPECT_EQ(offsetof(hv_synic_event_ring, data), 4u);
    EXPECT_EQ(sizeof(hv_synic_event_ring_page), 4096u);
    EXPECT_EQ(sizeof(hv_stimer_config), 8u);
    EXPECT_EQ(sizeof(hv_stimer_state), 40u);
    EXPECT_EQ(offsetof(hv_stimer_state, config), 8u);
    EXPECT_EQ(offsetof(hv_stimer_state, count), 16u);
    EXPECT_EQ(offsetof(hv_stimer_state, adjustment), 24u);
    EXPECT_EQ(offsetof(hv_stimer_state, undelivered_expiration_time), 32u);
    EXPECT_EQ(sizeof(hv_synthetic_timers_state), 200u);
    EXPECT_EQ(offsetof(hv_synthetic_timers_state, timers), 0u);
    EXPECT_EQ(sizeof(hv_reference_tsc_page), 24u);
    EXPECT_EQ(offsetof(hv_reference_tsc_page, tsc_sequence), 0u);
    EXPECT_EQ(offsetof(hv_reference_tsc_page, tsc_scale), 8u);
    EXPECT_EQ(offsetof(hv_reference_tsc_page, tsc_offset), 16u);
}

TEST(Abi, System) {
    EXPECT_EQ(sizeof(hv_input_get_logical_processor_run_time), 4u);
    EXPECT_EQ(sizeof(hv_output_get_logical_processor_run_time), 32u);
    EXPECT_EQ(offsetof(hv_output_get_logical_processor_run_time, global_time), 0u);
    EXPECT_EQ(offsetof(hv_output_get_logical_processor_run_time, local_run_time), 8u);
    EXPECT_EQ(offsetof(hv_output_get_logical_processor_run_time, hypervisor_time), 24u);
    EXPECT_EQ(sizeof(hv_input_add_logical_processor), 16u);
    EXPECT_EQ(offsetof(hv_input_add_logical_processor, lp_index), 0u);
    EXPECT_EQ(offsetof(hv_input_add_logical_processor, apic_id), 4u);
    EXPECT_EQ(offsetof(hv_input_add_logical_processor, proximity_domain_info), 8u);
    EXPECT_EQ(sizeof(hv_output_add_logical_processor), 56u);
    EXPECT_EQ(offsetof(hv_output_add_logical_processor, hv_status), 0u);
    EXPECT_EQ(offsetof(hv_output_add_logical_processor, substatus), 8u);
    EXPECT_EQ(sizeof(hv_input_notify_partition_event), 8u);
    EXPECT_EQ(offsetof(hv_input_notify_partition_event, event), 0u);
    EXPECT_EQ(offsetof(hv_input_notify_partition_event, input), 4u);
    EXPECT_EQ(sizeof(hv_input_get_system_property), 16u);
    EXPECT_EQ(offsetof(hv_input_get_system_property, property_id), 0u);
    EXPECT_EQ(offsetof(hv_input_get_system_property, argument), 8u);
    EXPECT_EQ(sizeof(hv_output_get_system_property), 8u);
    EXPECT_EQ(sizeof(hv_input_set_system_property), 72u);
    EXPECT_EQ(offsetof(hv_input_set_system_property, property_id), 0u);
    EXPECT_EQ(offsetof(hv_input_set_system_property, set_sleep_state_info), 8u);
    EXPECT_EQ(sizeof(hv_input_enter_sleep_state), 4u);
    EXPECT_EQ(sizeof(hv_stats_object_identity), 16u);
    EXPECT_EQ(offsetof(hv_stats_object_identity, vp.vp_index), 8u);
    EXPECT_EQ(offsetof(hv_stats_object_identity, vp.flags), 12u);
    EXPECT_EQ(offsetof(hv_stats_object_identity, vp.stats_area_type), 15u);
    EXPECT_EQ(offsetof(hv_stats_object_identity, lp.stats_area_type), 15u);
    EXPECT_EQ(offsetof(hv_stats_object_identity, partition.stats_area_type), 15u);
    EXPECT_EQ(sizeof(hv_input_stats_page), 24u);
    EXPECT_EQ(offsetof(hv_input_stats_page, type), 0u);
    EXPECT_EQ(offsetof(hv_input_stats_page, identity), 8u);
    EXPECT_EQ(sizeof(hv_output_map_stats_page), 8u);
}

/// The bit that a one-bit field is, or the lowest of a longer one.
template <class T, class F>
unsigned bit_of(F&& set) {
    T value{};
    set(value);
    std::uint64_t raw = 0;
    std::memcpy(&raw, &value, sizeof value < sizeof raw ? sizeof value : sizeof raw);
    return static_cast<unsigned>(__builtin_ctzll(raw));
}

TEST(Abi, BitsAreWhereTheOtherSideHasThem) {
    EXPECT_EQ(bit_of<hv_synic_sint>([](auto& s) { s.masked = 1; }), 16u);
    EXPECT_EQ(bit_of<hv_synic_sint>([](auto& s) { s.auto_eoi = 1; }), 17u);
    EXPECT_EQ(bit_of<hv_synic_sint>([](auto& s) { s.polling = 1; }), 18u);
    EXPECT_EQ(bit_of<hv_synic_sint>([](auto& s) { s.as_intercept = 1; }), 19u);
    EXPECT_EQ(bit_of<hv_synic_sint>([](auto& s) { s.proxy = 1; }), 20u);
    using Notifications = hv_x64_deliverability_notifications_register;
    EXPECT_EQ(sizeof(Notifications), 8u);
    EXPECT_EQ(bit_of<Notifications>([](auto& n) { n.nmi_notification = 1; }), 0u);
    EXPECT_EQ(bit_of<Notifications>([](auto& n) { n.interrupt_notification = 1; }), 1u);
    EXPECT_EQ(bit_of<Notifications>([](auto& n) { n.interrupt_priority = 1; }), 2u);
    EXPECT_EQ(bit_of<Notifications>([](auto& n) { n.sints = 1; }), 48u);
    EXPECT_EQ(bit_of<hv_stimer_config>([](auto& c) { c.enable = 1; }), 0u);
    EXPECT_EQ(bit_of<hv_stimer_config>([](auto& c) { c.periodic = 1; }), 1u);
    EXPECT_EQ(bit_of<hv_stimer_config>([](auto& c) { c.lazy = 1; }), 2u);
    EXPECT_EQ(bit_of<hv_stimer_config>([](auto& c) { c.auto_enable = 1; }), 3u);
    EXPECT_EQ(bit_of<hv_stimer_config>([](auto& c) { c.apic_vector = 1; }), 4u);
    EXPECT_EQ(bit_of<hv_stimer_config>([](auto& c) { c.direct_mode = 1; }), 12u);
    EXPECT_EQ(bit_of<hv_stimer_config>([](auto& c) { c.sintx = 1; }), 16u);
    using State = hv_x64_vp_execution_state;
    EXPECT_EQ(bit_of<State>([](auto& s) { s.cr0_pe = 1; }), 2u);
    EXPECT_EQ(bit_of<State>([](auto& s) { s.cr0_am = 1; }), 3u);
    EXPECT_EQ(bit_of<State>([](auto& s) { s.efer_lma = 1; }), 4u);
    EXPECT_EQ(bit_of<State>([](auto& s) { s.debug_active = 1; }), 5u);
    EXPECT_EQ(bit_of<State>([](auto& s) { s.interruption_pending = 1; }), 6u);
    EXPECT_EQ(bit_of<State>([](auto& s) { s.interrupt_shadow = 1; }), 12u);
    using Pending = hv_x64_pending_interruption_register;
    EXPECT_EQ(bit_of<Pending>([](auto& p) { p.interruption_pending = 1; }), 0u);
    EXPECT_EQ(bit_of<Pending>([](auto& p) { p.interruption_type = 1; }), 1u);
    EXPECT_EQ(bit_of<Pending>([](auto& p) { p.deliver_error_code = 1; }), 4u);
    EXPECT_EQ(bit_of<Pending>([](auto& p) { p.instruction_length = 1; }), 5u);
    EXPECT_EQ(bit_of<Pending>([](auto& p) { p.nested_event = 1; }), 9u);
    EXPECT_EQ(bit_of<Pending>([](auto& p) { p.interruption_vector = 1; }), 16u);
    EXPECT_EQ(bit_of<hv_interrupt_control>([](auto& c) { c.level_triggered = 1; }), 32u);
    EXPECT_EQ(bit_of<hv_interrupt_control>([](auto& c) { c.logical_dest_mode = 1; }), 33u);
    EXPECT_EQ(bit_of<hv_proximity_domain_info>([](auto& i) { i.proximity_info_valid = 1; }), 63u);
    using Internal = hv_internal_activity_register;
    EXPECT_EQ(bit_of<Internal>([](auto& i) { i.startup_suspend = 1; }), 0u);
    EXPECT_EQ(bit_of<Internal>([](auto& i) { i.halt_suspend = 1; }), 1u);
}

TEST(Abi, TheHypercallWordsAreWhereTheTlfsHasThem) {
    // Control: code 15..0, fast 16, variable header 26..17, rep count 43..32, rep start 59..48.
    constexpr std::uint64_t all = HV_HYPERCALL_CODE_MASK | HV_HYPERCALL_FAST |
        (HV_HYPERCALL_VARIABLE_HEADER_MASK << HV_HYPERCALL_VARIABLE_HEADER_SHIFT) |
        (HV_HYPERCALL_REP_COUNT_MASK << HV_HYPERCALL_REP_COUNT_SHIFT) |
        (HV_HYPERCALL_REP_START_MASK << HV_HYPERCALL_REP_START_SHIFT);
    EXPECT_EQ(all, 0x0fff0fff07ffffffu);
    EXPECT_EQ(all ^ HV_HYPERCALL_RESERVED_MASK, ~std::uint64_t{0})
        << "each bit is one or the other";
    EXPECT_EQ(HV_HYPERCALL_REPS_COMPLETED_SHIFT, 32);
}

} // namespace
