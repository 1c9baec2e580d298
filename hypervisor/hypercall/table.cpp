// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/hypercall/table.hpp"

#include "abi/cpuid.h"
#include "abi/hypercall.h"
#include "abi/interrupt.h"
#include "abi/memory.h"
#include "abi/partition.h"
#include "abi/port.h"
#include "abi/register.h"
#include "abi/synic.h"
#include "abi/system.h"

namespace hypervisor::hypercall {

namespace {

struct Empty {};
template <class T>
constexpr std::uint16_t size_of = sizeof(T);
template <>
constexpr std::uint16_t size_of<Empty> = 0;

template <class In, class Out = Empty>
constexpr CallEntry simple(
    std::uint16_t code, const char* name, std::uint64_t privilege, Status (*handler)(Call&)) {
    return {code, name, size_of<In>, 0, size_of<Out>, 0, false, false, privilege, handler};
}

template <class In, class Out = Empty>
constexpr CallEntry variable(
    std::uint16_t code, const char* name, std::uint64_t privilege, Status (*handler)(Call&)) {
    return {code, name, size_of<In>, 0, size_of<Out>, 0, false, true, privilege, handler};
}

template <class In, class RepIn, class RepOut = Empty>
constexpr CallEntry rep(
    std::uint16_t code, const char* name, std::uint64_t privilege, Status (*handler)(Call&)) {
    return {code, name, size_of<In>, size_of<RepIn>, 0, size_of<RepOut>, true, false, privilege,
        handler};
}

constexpr std::uint64_t parent = HV_CREATE_PARTITIONS;
constexpr std::uint64_t pool = HV_ACCESS_MEMORY_POOL;
constexpr std::uint64_t machine = HV_CPU_MANAGEMENT;
constexpr std::uint64_t none = 0;

// The variable-size sets of virtual processors end in their banks; their header is what comes
// before.
constexpr std::uint16_t map_device_interrupt_header =
    offsetof(hv_input_map_device_interrupt, target.vp_set.valid_bank_mask);
constexpr std::uint16_t retarget_device_interrupt_header =
    offsetof(hv_input_retarget_device_interrupt, target.vp_set.valid_bank_mask);
constexpr std::uint16_t flush_ex_header =
    offsetof(hv_input_flush_virtual_address_space_ex, vp_set.bank_contents);
constexpr std::uint16_t ipi_ex_header =
    offsetof(hv_input_send_synthetic_cluster_ipi_ex, vp_set.bank_contents);

constexpr CallEntry entries[] = {
    simple<hv_input_flush_virtual_address_space>(HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE,
        "HvCallFlushVirtualAddressSpace", none, flush_virtual_address_space),
    rep<hv_input_flush_virtual_address_space, std::uint64_t>(HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST,
        "HvCallFlushVirtualAddressList", none, flush_virtual_address_list),
    simple<hv_input_get_logical_processor_run_time, hv_output_get_logical_processor_run_time>(
        HVCALL_GET_LOGICAL_PROCESSOR_RUN_TIME, "HvCallGetLogicalProcessorRunTime", machine,
        get_logical_processor_run_time),
    simple<std::uint64_t>(
        HVCALL_NOTIFY_LONG_SPIN_WAIT, "HvCallNotifyLongSpinWait", none, notify_long_spin_wait),
    simple<hv_input_send_synthetic_cluster_ipi>(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI,
        "HvCallSendSyntheticClusterIpi", none, send_synthetic_cluster_ipi),
    {HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX, "HvCallFlushVirtualAddressSpaceEx", flush_ex_header, 0,
        0, 0, false, true, none, flush_virtual_address_space_ex},
    {HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST_EX, "HvCallFlushVirtualAddressListEx", flush_ex_header,
        sizeof(std::uint64_t), 0, 0, true, true, none, flush_virtual_address_list_ex},
    {HVCALL_SEND_SYNTHETIC_CLUSTER_IPI_EX, "HvCallSendSyntheticClusterIpiEx", ipi_ex_header, 0, 0,
        0, false, true, none, send_synthetic_cluster_ipi_ex},
    simple<hv_input_create_partition, hv_output_create_partition>(
        HVCALL_CREATE_PARTITION, "HvCallCreatePartition", parent, create_partition),
    simple<hv_input_partition>(
        HVCALL_INITIALIZE_PARTITION, "HvCallInitializePartition", parent, initialize_partition),
    simple<hv_input_partition>(
        HVCALL_FINALIZE_PARTITION, "HvCallFinalizePartition", parent, finalize_partition),
    simple<hv_input_partition>(
        HVCALL_DELETE_PARTITION, "HvCallDeletePartition", parent, delete_partition),
    simple<hv_input_get_partition_property, hv_output_get_partition_property>(
        HVCALL_GET_PARTITION_PROPERTY, "HvCallGetPartitionProperty", parent,
        get_partition_property),
    simple<hv_input_set_partition_property>(HVCALL_SET_PARTITION_PROPERTY,
        "HvCallSetPartitionProperty", parent, set_partition_property),
    simple<Empty, hv_output_get_partition_id>(
        HVCALL_GET_PARTITION_ID, "HvCallGetPartitionId", HV_ACCESS_PARTITION_ID, get_partition_id),
    rep<hv_input_deposit_memory, std::uint64_t>(
        HVCALL_DEPOSIT_MEMORY, "HvCallDepositMemory", pool, deposit_memory),
    rep<hv_input_withdraw_memory, Empty, std::uint64_t>(
        HVCALL_WITHDRAW_MEMORY, "HvCallWithdrawMemory", pool, withdraw_memory),
    simple<hv_input_get_memory_balance, hv_output_get_memory_balance>(
        HVCALL_GET_MEMORY_BALANCE, "HvCallGetMemoryBalance", pool, get_memory_balance),
    rep<hv_input_map_gpa_pages, std::uint64_t>(
        HVCALL_MAP_GPA_PAGES, "HvCallMapGpaPages", parent, map_gpa_pages),
    rep<hv_input_unmap_gpa_pages, Empty>(
        HVCALL_UNMAP_GPA_PAGES, "HvCallUnmapGpaPages", parent, unmap_gpa_pages),
    simple<hv_input_install_intercept>(
        HVCALL_INSTALL_INTERCEPT, "HvCallInstallIntercept", parent, install_intercept),
    simple<hv_input_create_vp>(HVCALL_CREATE_VP, "HvCallCreateVp", parent, create_vp),
    simple<hv_input_delete_vp>(HVCALL_DELETE_VP, "HvCallDeleteVp", parent, delete_vp),
    rep<hv_input_get_vp_registers, std::uint32_t, hv_register_value>(
        HVCALL_GET_VP_REGISTERS, "HvCallGetVpRegisters", HV_ACCESS_VP_REGISTERS, get_vp_registers),
    rep<hv_input_set_vp_registers, hv_register_assoc>(
        HVCALL_SET_VP_REGISTERS, "HvCallSetVpRegisters", HV_ACCESS_VP_REGISTERS, set_vp_registers),
    simple<hv_input_translate_virtual_address, hv_output_translate_virtual_address>(
        HVCALL_TRANSLATE_VIRTUAL_ADDRESS, "HvCallTranslateVirtualAddress", parent,
        translate_virtual_address),
    simple<hv_input_partition>(HVCALL_CLEAR_VIRTUAL_INTERRUPT, "HvCallClearVirtualInterrupt",
        parent, clear_virtual_interrupt),
    simple<hv_input_delete_port>(
        HVCALL_DELETE_PORT, "HvCallDeletePort", HV_CREATE_PORT, delete_port),
    simple<hv_input_disconnect_port>(
        HVCALL_DISCONNECT_PORT, "HvCallDisconnectPort", HV_CONNECT_PORT, disconnect_port),
    simple<hv_input_post_message>(
        HVCALL_POST_MESSAGE, "HvCallPostMessage", HV_POST_MESSAGES, post_message),
    simple<hv_input_signal_event>(
        HVCALL_SIGNAL_EVENT, "HvCallSignalEvent", HV_SIGNAL_EVENTS, signal_event),
    simple<hv_input_stats_page, hv_output_map_stats_page>(
        HVCALL_MAP_STATS_PAGE, "HvCallMapStatsPage", HV_ACCESS_STATS, map_stats_page),
    simple<hv_input_stats_page>(
        HVCALL_UNMAP_STATS_PAGE, "HvCallUnmapStatsPage", HV_ACCESS_STATS, unmap_stats_page),
    simple<hv_input_set_system_property>(
        HVCALL_SET_SYSTEM_PROPERTY, "HvCallSetSystemProperty", machine, set_system_property),
    simple<hv_input_add_logical_processor, hv_output_add_logical_processor>(
        HVCALL_ADD_LOGICAL_PROCESSOR, "HvCallAddLogicalProcessor", machine, add_logical_processor),
    simple<hv_input_get_system_property, hv_output_get_system_property>(
        HVCALL_GET_SYSTEM_PROPERTY, "HvCallGetSystemProperty", machine, get_system_property),
    {HVCALL_MAP_DEVICE_INTERRUPT, "HvCallMapDeviceInterrupt", map_device_interrupt_header, 0,
        sizeof(hv_output_map_device_interrupt), 0, false, true, machine, map_device_interrupt},
    simple<hv_input_unmap_device_interrupt>(HVCALL_UNMAP_DEVICE_INTERRUPT,
        "HvCallUnmapDeviceInterrupt", machine, unmap_device_interrupt),
    {HVCALL_RETARGET_DEVICE_INTERRUPT, "HvCallRetargetDeviceInterrupt",
        retarget_device_interrupt_header, 0, 0, 0, false, true, none, retarget_device_interrupt},
    simple<hv_input_enter_sleep_state>(
        HVCALL_ENTER_SLEEP_STATE, "HvCallEnterSleepState", machine, enter_sleep_state),
    simple<hv_input_notify_partition_event>(HVCALL_NOTIFY_PARTITION_EVENT,
        "HvCallNotifyPartitionEvent", machine, notify_partition_event),
    simple<hv_input_notify_port_ring_empty>(HVCALL_NOTIFY_PORT_RING_EMPTY,
        "HvCallNotifyPortRingEmpty", HV_CREATE_PORT, notify_port_ring_empty),
    simple<hv_input_register_intercept_result>(HVCALL_REGISTER_INTERCEPT_RESULT,
        "HvCallRegisterInterceptResult", parent, register_intercept_result),
    simple<hv_input_assert_virtual_interrupt>(HVCALL_ASSERT_VIRTUAL_INTERRUPT,
        "HvCallAssertVirtualInterrupt", parent, assert_virtual_interrupt),
    simple<hv_input_create_port>(
        HVCALL_CREATE_PORT, "HvCallCreatePort", HV_CREATE_PORT, create_port),
    simple<hv_input_connect_port>(
        HVCALL_CONNECT_PORT, "HvCallConnectPort", HV_CONNECT_PORT, connect_port),
    rep<hv_input_get_vp_index_from_apic_id, std::uint32_t, std::uint32_t>(
        HVCALL_GET_VP_INDEX_FROM_APIC_ID, "HvCallGetVpIndexFromApicId", none,
        get_vp_index_from_apic_id),
    simple<hv_input_signal_event_direct, hv_output_signal_event_direct>(
        HVCALL_SIGNAL_EVENT_DIRECT, "HvCallSignalEventDirect", parent, signal_event_direct),
    simple<hv_input_post_message_direct>(
        HVCALL_POST_MESSAGE_DIRECT, "HvCallPostMessageDirect", parent, post_message_direct),
    rep<hv_input_get_gpa_pages_access_state, Empty, std::uint8_t>(
        HVCALL_GET_GPA_PAGES_ACCESS_STATES, "HvCallGetGpaPagesAccessStates", parent,
        get_gpa_pages_access_states),
    simple<hv_input_map_vp_state_page, hv_output_map_vp_state_page>(
        HVCALL_MAP_VP_STATE_PAGE, "HvCallMapVpStatePage", parent, map_vp_state_page),
    simple<hv_input_unmap_vp_state_page>(
        HVCALL_UNMAP_VP_STATE_PAGE, "HvCallUnmapVpStatePage", parent, unmap_vp_state_page),
    variable<hv_input_vp_state, hv_synthetic_timers_state>(
        HVCALL_GET_VP_STATE, "HvCallGetVpState", parent, get_vp_state),
    variable<hv_input_vp_state>(HVCALL_SET_VP_STATE, "HvCallSetVpState", parent, set_vp_state),
    rep<hv_input_get_vp_cpuid_values, hv_cpuid_leaf_info, hv_output_get_vp_cpuid_values>(
        HVCALL_GET_VP_CPUID_VALUES, "HvCallGetVpCpuidValues", parent, get_vp_cpuid_values),
    simple<hv_input_get_partition_property_ex, hv_partition_property_banks>(
        HVCALL_GET_PARTITION_PROPERTY_EX, "HvCallGetPartitionPropertyEx", parent,
        get_partition_property_ex),
};

constexpr bool is_ascending() {
    for (std::size_t i = 1; i < std::size(entries); ++i) {
        if (entries[i - 1].code >= entries[i].code) {
            return false;
        }
    }
    return true;
}
static_assert(is_ascending());

} // namespace

std::span<const CallEntry> table() {
    return entries;
}

} // namespace hypervisor::hypercall
