// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/hypercall/table.hpp"

#include "abi/cpuid.h"
#include "abi/hypercall.h"
#include "abi/interrupt.h"
#include "abi/memory.h"
#include "abi/partition.h"
#include "abi/port.h"
#include "abi/register.h"
#include "abi/status.h"
#include "abi/synic.h"
#include "abi/system.h"

#include <array>

namespace hypervisor::hypercall {

namespace {

struct Empty {};
template <class T>
constexpr std::uint16_t size_of = sizeof(T);
template <>
constexpr std::uint16_t size_of<Empty> = 0;

template <class In, class Out = Empty>
constexpr CallEntry simple(std::uint16_t code, const char* name, VpCounter counter,
    std::uint64_t privilege, Status (*handler)(Call&)) {
    return {code, name, size_of<In>, 0, size_of<Out>, 0, false, false, counter, privilege, handler};
}

template <class In, class Out = Empty>
constexpr CallEntry variable(std::uint16_t code, const char* name, VpCounter counter,
    std::uint64_t privilege, Status (*handler)(Call&)) {
    return {code, name, size_of<In>, 0, size_of<Out>, 0, false, true, counter, privilege, handler};
}

template <class In, class RepIn, class RepOut = Empty>
constexpr CallEntry rep(std::uint16_t code, const char* name, VpCounter counter,
    std::uint64_t privilege, Status (*handler)(Call&)) {
    return {code, name, size_of<In>, size_of<RepIn>, 0, size_of<RepOut>, true, false, counter,
        privilege, handler};
}

// What calls are counted as: the chapters of the TLFS, but for those that have a counter of their
// own.
constexpr VpCounter gpa_space = VpCounter::gpa_space_hypercalls;
constexpr VpCounter lps = VpCounter::logical_processor_hypercalls;
constexpr VpCounter spin = VpCounter::long_spin_wait_hypercalls;
constexpr VpCounter other = VpCounter::other_hypercalls;
constexpr VpCounter synic = VpCounter::synthetic_interrupt_hypercalls;
constexpr VpCounter interrupt = VpCounter::virtual_interrupt_hypercalls;
constexpr VpCounter mmu = VpCounter::virtual_mmu_hypercalls;
constexpr VpCounter vps = VpCounter::virtual_processor_hypercalls;
constexpr VpCounter deposit = VpCounter::deposit_hypercalls;

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
        "HvCallFlushVirtualAddressSpace", mmu, none, flush_virtual_address_space),
    rep<hv_input_flush_virtual_address_space, std::uint64_t>(HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST,
        "HvCallFlushVirtualAddressList", mmu, none, flush_virtual_address_list),
    simple<hv_input_get_logical_processor_run_time, hv_output_get_logical_processor_run_time>(
        HVCALL_GET_LOGICAL_PROCESSOR_RUN_TIME, "HvCallGetLogicalProcessorRunTime", lps, machine,
        get_logical_processor_run_time),
    simple<std::uint64_t>(HVCALL_NOTIFY_LONG_SPIN_WAIT, "HvCallNotifyLongSpinWait", spin, none,
        notify_long_spin_wait),
    simple<hv_input_send_synthetic_cluster_ipi>(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI,
        "HvCallSendSyntheticClusterIpi", interrupt, none, send_synthetic_cluster_ipi),
    {HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX, "HvCallFlushVirtualAddressSpaceEx", flush_ex_header, 0,
        0, 0, false, true, mmu, none, flush_virtual_address_space_ex},
    {HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST_EX, "HvCallFlushVirtualAddressListEx", flush_ex_header,
        sizeof(std::uint64_t), 0, 0, true, true, mmu, none, flush_virtual_address_list_ex},
    {HVCALL_SEND_SYNTHETIC_CLUSTER_IPI_EX, "HvCallSendSyntheticClusterIpiEx", ipi_ex_header, 0, 0,
        0, false, true, interrupt, none, send_synthetic_cluster_ipi_ex},
    simple<hv_input_create_partition, hv_output_create_partition>(
        HVCALL_CREATE_PARTITION, "HvCallCreatePartition", other, parent, create_partition),
    simple<hv_input_partition>(HVCALL_INITIALIZE_PARTITION, "HvCallInitializePartition", other,
        parent, initialize_partition),
    simple<hv_input_partition>(
        HVCALL_FINALIZE_PARTITION, "HvCallFinalizePartition", other, parent, finalize_partition),
    simple<hv_input_partition>(
        HVCALL_DELETE_PARTITION, "HvCallDeletePartition", other, parent, delete_partition),
    simple<hv_input_get_partition_property, hv_output_get_partition_property>(
        HVCALL_GET_PARTITION_PROPERTY, "HvCallGetPartitionProperty", other, parent,
        get_partition_property),
    simple<hv_input_set_partition_property>(HVCALL_SET_PARTITION_PROPERTY,
        "HvCallSetPartitionProperty", other, parent, set_partition_property),
    simple<Empty, hv_output_get_partition_id>(HVCALL_GET_PARTITION_ID, "HvCallGetPartitionId",
        other, HV_ACCESS_PARTITION_ID, get_partition_id),
    rep<hv_input_deposit_memory, std::uint64_t>(
        HVCALL_DEPOSIT_MEMORY, "HvCallDepositMemory", deposit, pool, deposit_memory),
    rep<hv_input_withdraw_memory, Empty, std::uint64_t>(
        HVCALL_WITHDRAW_MEMORY, "HvCallWithdrawMemory", deposit, pool, withdraw_memory),
    simple<hv_input_get_memory_balance, hv_output_get_memory_balance>(
        HVCALL_GET_MEMORY_BALANCE, "HvCallGetMemoryBalance", deposit, pool, get_memory_balance),
    rep<hv_input_map_gpa_pages, std::uint64_t>(
        HVCALL_MAP_GPA_PAGES, "HvCallMapGpaPages", gpa_space, parent, map_gpa_pages),
    rep<hv_input_unmap_gpa_pages, Empty>(
        HVCALL_UNMAP_GPA_PAGES, "HvCallUnmapGpaPages", gpa_space, parent, unmap_gpa_pages),
    simple<hv_input_install_intercept>(
        HVCALL_INSTALL_INTERCEPT, "HvCallInstallIntercept", other, parent, install_intercept),
    simple<hv_input_create_vp>(HVCALL_CREATE_VP, "HvCallCreateVp", vps, parent, create_vp),
    simple<hv_input_delete_vp>(HVCALL_DELETE_VP, "HvCallDeleteVp", vps, parent, delete_vp),
    rep<hv_input_get_vp_registers, std::uint32_t, hv_register_value>(HVCALL_GET_VP_REGISTERS,
        "HvCallGetVpRegisters", vps, HV_ACCESS_VP_REGISTERS, get_vp_registers),
    rep<hv_input_set_vp_registers, hv_register_assoc>(HVCALL_SET_VP_REGISTERS,
        "HvCallSetVpRegisters", vps, HV_ACCESS_VP_REGISTERS, set_vp_registers),
    simple<hv_input_translate_virtual_address, hv_output_translate_virtual_address>(
        HVCALL_TRANSLATE_VIRTUAL_ADDRESS, "HvCallTranslateVirtualAddress", mmu, parent,
        translate_virtual_address),
    simple<hv_input_partition>(HVCALL_CLEAR_VIRTUAL_INTERRUPT, "HvCallClearVirtualInterrupt",
        interrupt, parent, clear_virtual_interrupt),
    simple<hv_input_delete_port>(
        HVCALL_DELETE_PORT, "HvCallDeletePort", synic, HV_CREATE_PORT, delete_port),
    simple<hv_input_disconnect_port>(
        HVCALL_DISCONNECT_PORT, "HvCallDisconnectPort", synic, HV_CONNECT_PORT, disconnect_port),
    simple<hv_input_post_message>(
        HVCALL_POST_MESSAGE, "HvCallPostMessage", synic, HV_POST_MESSAGES, post_message),
    simple<hv_input_signal_event>(
        HVCALL_SIGNAL_EVENT, "HvCallSignalEvent", synic, HV_SIGNAL_EVENTS, signal_event),
    simple<hv_input_stats_page, hv_output_map_stats_page>(
        HVCALL_MAP_STATS_PAGE, "HvCallMapStatsPage", other, HV_ACCESS_STATS, map_stats_page),
    simple<hv_input_stats_page>(
        HVCALL_UNMAP_STATS_PAGE, "HvCallUnmapStatsPage", other, HV_ACCESS_STATS, unmap_stats_page),
    simple<hv_input_set_system_property>(
        HVCALL_SET_SYSTEM_PROPERTY, "HvCallSetSystemProperty", other, machine, set_system_property),
    simple<hv_input_add_logical_processor, hv_output_add_logical_processor>(
        HVCALL_ADD_LOGICAL_PROCESSOR, "HvCallAddLogicalProcessor", lps, machine,
        add_logical_processor),
    simple<hv_input_get_system_property, hv_output_get_system_property>(
        HVCALL_GET_SYSTEM_PROPERTY, "HvCallGetSystemProperty", other, machine, get_system_property),
    {HVCALL_MAP_DEVICE_INTERRUPT, "HvCallMapDeviceInterrupt", map_device_interrupt_header, 0,
        sizeof(hv_output_map_device_interrupt), 0, false, true, interrupt, machine,
        map_device_interrupt},
    simple<hv_input_unmap_device_interrupt>(HVCALL_UNMAP_DEVICE_INTERRUPT,
        "HvCallUnmapDeviceInterrupt", interrupt, machine, unmap_device_interrupt),
    {HVCALL_RETARGET_DEVICE_INTERRUPT, "HvCallRetargetDeviceInterrupt",
        retarget_device_interrupt_header, 0, 0, 0, false, true, interrupt, none,
        retarget_device_interrupt},
    simple<hv_input_enter_sleep_state>(
        HVCALL_ENTER_SLEEP_STATE, "HvCallEnterSleepState", other, machine, enter_sleep_state),
    simple<hv_input_notify_partition_event>(HVCALL_NOTIFY_PARTITION_EVENT,
        "HvCallNotifyPartitionEvent", other, machine, notify_partition_event),
    simple<hv_input_notify_port_ring_empty>(HVCALL_NOTIFY_PORT_RING_EMPTY,
        "HvCallNotifyPortRingEmpty", synic, HV_CREATE_PORT, notify_port_ring_empty),
    simple<hv_input_register_intercept_result>(HVCALL_REGISTER_INTERCEPT_RESULT,
        "HvCallRegisterInterceptResult", other, parent, register_intercept_result),
    simple<hv_input_unregister_intercept_result>(HVCALL_UNREGISTER_INTERCEPT_RESULT,
        "HvCallUnregisterInterceptResult", other, parent, unregister_intercept_result),
    simple<hv_input_assert_virtual_interrupt>(HVCALL_ASSERT_VIRTUAL_INTERRUPT,
        "HvCallAssertVirtualInterrupt", interrupt, parent, assert_virtual_interrupt),
    simple<hv_input_create_port>(
        HVCALL_CREATE_PORT, "HvCallCreatePort", synic, HV_CREATE_PORT, create_port),
    simple<hv_input_connect_port>(
        HVCALL_CONNECT_PORT, "HvCallConnectPort", synic, HV_CONNECT_PORT, connect_port),
    rep<hv_input_get_vp_index_from_apic_id, std::uint32_t, std::uint32_t>(
        HVCALL_GET_VP_INDEX_FROM_APIC_ID, "HvCallGetVpIndexFromApicId", vps, none,
        get_vp_index_from_apic_id),
    simple<hv_input_signal_event_direct, hv_output_signal_event_direct>(
        HVCALL_SIGNAL_EVENT_DIRECT, "HvCallSignalEventDirect", synic, parent, signal_event_direct),
    simple<hv_input_post_message_direct>(
        HVCALL_POST_MESSAGE_DIRECT, "HvCallPostMessageDirect", synic, parent, post_message_direct),
    simple<hv_input_dispatch_vp, hv_output_dispatch_vp>(
        HVCALL_DISPATCH_VP, "HvCallDispatchVp", vps, parent, dispatch_vp),
    rep<hv_input_get_gpa_pages_access_state, Empty, std::uint8_t>(
        HVCALL_GET_GPA_PAGES_ACCESS_STATES, "HvCallGetGpaPagesAccessStates", gpa_space, parent,
        get_gpa_pages_access_states),
    simple<hv_input_map_vp_state_page, hv_output_map_vp_state_page>(
        HVCALL_MAP_VP_STATE_PAGE, "HvCallMapVpStatePage", vps, parent, map_vp_state_page),
    simple<hv_input_unmap_vp_state_page>(
        HVCALL_UNMAP_VP_STATE_PAGE, "HvCallUnmapVpStatePage", vps, parent, unmap_vp_state_page),
    variable<hv_input_vp_state, hv_synthetic_timers_state>(
        HVCALL_GET_VP_STATE, "HvCallGetVpState", vps, parent, get_vp_state),
    variable<hv_input_vp_state>(HVCALL_SET_VP_STATE, "HvCallSetVpState", vps, parent, set_vp_state),
    rep<hv_input_get_vp_cpuid_values, hv_cpuid_leaf_info, hv_output_get_vp_cpuid_values>(
        HVCALL_GET_VP_CPUID_VALUES, "HvCallGetVpCpuidValues", vps, parent, get_vp_cpuid_values),
    simple<hv_input_get_partition_property_ex, hv_output_get_partition_property_ex>(
        HVCALL_GET_PARTITION_PROPERTY_EX, "HvCallGetPartitionPropertyEx", other, parent,
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

/// A field of `size` bytes at `at`, of which the bits `allowed` may be set.
constexpr ReservedBits only(std::uint16_t code, std::size_t at, std::size_t size,
    std::uint64_t allowed = 0, std::uint8_t status = HV_STATUS_INVALID_PARAMETER) {
    const std::uint64_t field = ~std::uint64_t{0} >> (64 - 8 * size);
    const std::size_t shift = 8 * (at % 8);
    return {code, static_cast<std::uint8_t>(at - at % 8), status, (field & ~allowed) << shift};
}

/// HV_INPUT_VTL: that VTL 0 is meant may be said.
constexpr std::uint64_t vtl0 = 1u << 4;
constexpr std::uint64_t flush_space = HV_FLUSH_ALL_PROCESSORS |
    HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES | HV_FLUSH_NON_GLOBAL_MAPPINGS_ONLY;
// A list has global mappings and others alike. Its ranges may be of any form, as each is among all.
constexpr std::uint64_t flush_list = HV_FLUSH_ALL_PROCESSORS | HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES |
    HV_FLUSH_USE_EXTENDED_RANGE_FORMAT;
// Cloud Hypervisor says by default that its guests may nest, and OpenVMM and QEMU how they number
// threads: neither makes a difference here, as no processor has the features. The EXO partition
// and the message page are what upstream's driver makes.
constexpr std::uint64_t creation_flags = HV_PARTITION_CREATION_FLAG_SMT_ENABLED_GUEST |
    HV_PARTITION_CREATION_FLAG_NESTED_VIRTUALIZATION_CAPABLE |
    HV_PARTITION_CREATION_FLAG_GPA_SUPER_PAGES_ENABLED | HV_PARTITION_CREATION_FLAG_EXO_PARTITION |
    HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED |
    HV_PARTITION_CREATION_FLAG_INTERCEPT_MESSAGE_PAGE_ENABLED |
    HV_PARTITION_CREATION_FLAG_X2APIC_CAPABLE;
constexpr std::uint64_t map_flags = HV_MAP_GPA_PERMISSIONS_MASK | HV_MAP_GPA_ADJUSTABLE |
    HV_MAP_GPA_NO_ACCESS | HV_MAP_GPA_NOT_CACHED | HV_MAP_GPA_LARGE_PAGE;
// No translation is dropped in any case.
constexpr std::uint64_t translate_flags = HV_TRANSLATE_GVA_VALIDATE_READ |
    HV_TRANSLATE_GVA_VALIDATE_WRITE | HV_TRANSLATE_GVA_VALIDATE_EXECUTE |
    HV_TRANSLATE_GVA_PRIVILEGE_EXEMPT | HV_TRANSLATE_GVA_SET_PAGE_TABLE_BITS |
    HV_TRANSLATE_GVA_TLB_FLUSH_INHIBIT | vtl0 << 56;
// Level-triggered, logical destination; and what Cloud Hypervisor's library calls "long mode".
constexpr std::uint64_t interrupt_flags = 1u << 0 | 1u << 1 | 1u << 30;
constexpr std::uint64_t doorbell_flags =
    HV_DOORBELL_FLAG_TRIGGER_SIZE_MASK | HV_DOORBELL_FLAG_TRIGGER_ANY_VALUE;
constexpr std::uint64_t dispatch_flags = HV_DISPATCH_VP_FLAG_CLEAR_INTERCEPT_SUSPEND |
    HV_DISPATCH_VP_FLAG_SCAN_INTERRUPT_INJECTION | HV_DISPATCH_VP_FLAG_SKIP_VP_SPEC_FLUSH |
    HV_DISPATCH_VP_FLAG_SKIP_CALLER_SPEC_FLUSH | HV_DISPATCH_VP_FLAG_SKIP_CALLER_USER_SPEC_FLUSH;
constexpr std::uint64_t access_flags = HV_GPA_ACCESS_CLEAR_ACCESSED | HV_GPA_ACCESS_SET_ACCESSED |
    HV_GPA_ACCESS_CLEAR_DIRTY | HV_GPA_ACCESS_SET_DIRTY;
constexpr std::uint64_t cpuid_flags =
    HV_GET_VP_CPUID_VALUES_USE_VP_XFEM_XSS | HV_GET_VP_CPUID_VALUES_APPLY_REGISTERED_VALUES;

// By code, as the calls. Not here, because upstream's driver leaves in them what the last call has
// left: the padding of HvMapGpaPages, HvUnmapGpaPages, HvAddLogicalProcessor and HvCreateVp; and
// QEMU, what is reserved in the elements of HvSetVpRegisters.
constexpr ReservedBits reserved[] = {
    only(HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE, 8, 8, flush_space),
    only(HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST, 8, 8, flush_list),
    only(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI, 4, 1, vtl0),
    only(HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX, 8, 8, flush_space),
    only(HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST_EX, 8, 8, flush_list),
    only(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI_EX, 4, 1, vtl0),
    only(HVCALL_CREATE_PARTITION, 0, 8, creation_flags),
    only(HVCALL_CREATE_PARTITION, 20, 4),
    only(HVCALL_CREATE_PARTITION, 48, 8), // no isolation from the root is offered
    only(HVCALL_GET_PARTITION_PROPERTY, 12, 4),
    only(HVCALL_SET_PARTITION_PROPERTY, 12, 4),
    only(HVCALL_MAP_GPA_PAGES, 16, 4, map_flags),
    only(HVCALL_UNMAP_GPA_PAGES, 16, 4, HV_UNMAP_GPA_LARGE_PAGE),
    only(HVCALL_CREATE_VP, 15, 1),
    only(HVCALL_DELETE_VP, 12, 4),
    only(HVCALL_GET_VP_REGISTERS, 12, 4, vtl0),
    only(HVCALL_SET_VP_REGISTERS, 12, 4, vtl0),
    only(HVCALL_TRANSLATE_VIRTUAL_ADDRESS, 16, 8, translate_flags),
    only(HVCALL_DELETE_PORT, 8, 4, HV_PORT_ID_MASK, HV_STATUS_INVALID_PORT_ID),
    only(HVCALL_DELETE_PORT, 12, 4),
    only(HVCALL_DISCONNECT_PORT, 8, 4, HV_PORT_ID_MASK, HV_STATUS_INVALID_CONNECTION_ID),
    only(HVCALL_DISCONNECT_PORT, 12, 4, 1), // that it is a doorbell
    only(HVCALL_POST_MESSAGE, 0, 4, HV_PORT_ID_MASK, HV_STATUS_INVALID_CONNECTION_ID),
    only(HVCALL_POST_MESSAGE, 4, 4),
    only(HVCALL_SIGNAL_EVENT, 0, 4, HV_PORT_ID_MASK, HV_STATUS_INVALID_CONNECTION_ID),
    only(HVCALL_SIGNAL_EVENT, 6, 2),
    only(HVCALL_MAP_STATS_PAGE, 4, 4),
    only(HVCALL_UNMAP_STATS_PAGE, 4, 4),
    only(HVCALL_SET_SYSTEM_PROPERTY, 4, 4),
    only(HVCALL_GET_SYSTEM_PROPERTY, 4, 4),
    only(HVCALL_MAP_DEVICE_INTERRUPT, 52, 4),
    only(HVCALL_NOTIFY_PORT_RING_EMPTY, 4, 4),
    only(HVCALL_ASSERT_VIRTUAL_INTERRUPT, 12, 4, interrupt_flags),
    only(HVCALL_ASSERT_VIRTUAL_INTERRUPT, 20, 4), // APIC ids have 32 bits
    only(HVCALL_ASSERT_VIRTUAL_INTERRUPT, 24, 8, 0xff),
    only(HVCALL_CREATE_PORT, 8, 4, HV_PORT_ID_MASK, HV_STATUS_INVALID_PORT_ID),
    only(HVCALL_CREATE_PORT, 12, 4),
    only(HVCALL_CREATE_PORT, 28, 4),
    only(HVCALL_CREATE_PORT, 40, 8),
    only(HVCALL_CONNECT_PORT, 8, 4, HV_PORT_ID_MASK, HV_STATUS_INVALID_CONNECTION_ID),
    only(HVCALL_CONNECT_PORT, 12, 4),
    only(HVCALL_CONNECT_PORT, 24, 4, HV_PORT_ID_MASK, HV_STATUS_INVALID_PORT_ID),
    only(HVCALL_CONNECT_PORT, 28, 4),
    only(HVCALL_CONNECT_PORT, 36, 4),
    only(HVCALL_CONNECT_PORT, 56, 8, doorbell_flags),
    only(HVCALL_GET_VP_INDEX_FROM_APIC_ID, 8, 1, vtl0),
    only(HVCALL_SIGNAL_EVENT_DIRECT, 12, 1),
    only(HVCALL_POST_MESSAGE_DIRECT, 12, 4),
    only(HVCALL_DISPATCH_VP, 12, 4, dispatch_flags),
    only(HVCALL_GET_GPA_PAGES_ACCESS_STATES, 8, 8, access_flags),
    only(HVCALL_MAP_VP_STATE_PAGE, 14, 2, vtl0), // where it is mapped isn't the caller's to say
    only(HVCALL_UNMAP_VP_STATE_PAGE, 14, 2, vtl0),
    only(HVCALL_GET_VP_STATE, 12, 4, vtl0),
    only(HVCALL_GET_VP_STATE, 20, 4),
    only(HVCALL_SET_VP_STATE, 12, 4, vtl0),
    only(HVCALL_SET_VP_STATE, 20, 4),
    only(HVCALL_GET_VP_CPUID_VALUES, 12, 4, cpuid_flags),
    only(HVCALL_GET_VP_CPUID_VALUES, 16, 4),
    only(HVCALL_GET_PARTITION_PROPERTY_EX, 12, 4),
};

/// Where the bits of each call begin, and end.
constexpr auto first_reserved = [] {
    std::array<std::uint8_t, std::size(entries) + 1> result{};
    std::size_t next = 0;
    for (std::size_t i = 0; i < std::size(entries); ++i) {
        result[i] = static_cast<std::uint8_t>(next);
        while (next < std::size(reserved) && reserved[next].code == entries[i].code &&
            reserved[next].offset + sizeof reserved[next].mask <= entries[i].input_size) {
            ++next;
        }
    }
    result.back() = static_cast<std::uint8_t>(next);
    return result;
}();
static_assert(first_reserved.back() == std::size(reserved), "not by code, or not in the input");

constexpr std::size_t end_of_codes = entries[std::size(entries) - 1].code + 1;
constexpr std::uint8_t no_entry = 0xff;
static_assert(std::size(entries) < no_entry);

/// Where each code's entry is.
constexpr auto places = [] {
    std::array<std::uint8_t, end_of_codes> result{};
    result.fill(no_entry);
    for (std::size_t i = 0; i < std::size(entries); ++i) {
        result[entries[i].code] = static_cast<std::uint8_t>(i);
    }
    return result;
}();

} // namespace

std::span<const CallEntry> table() {
    return entries;
}

std::span<const ReservedBits> reserved_bits(const CallEntry& entry) {
    const std::uint8_t* const first = &first_reserved[static_cast<std::size_t>(&entry - entries)];
    return {reserved + first[0], reserved + first[1]};
}

const CallEntry* find(std::uint64_t code) {
    return code < end_of_codes && places[code] != no_entry ? &entries[places[code]] : nullptr;
}

} // namespace hypervisor::hypercall
