/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Partitions and virtual processors: life cycle, memory deposits, properties and VP state
 * (TLFS "Partition Management"; root-only structures as in upstream Linux, include/hyperv/hvhdk.h).
 */
#pragma once
#pragma GCC system_header /* anonymous structs and flexible arrays are what the layouts are */

#include "abi/types.h"

/* HvCallCreatePartition flags. */
#define HV_PARTITION_CREATION_FLAG_SMT_ENABLED_GUEST (1ull << 0)
#define HV_PARTITION_CREATION_FLAG_NESTED_VIRTUALIZATION_CAPABLE (1ull << 1)
#define HV_PARTITION_CREATION_FLAG_GPA_SUPER_PAGES_ENABLED (1ull << 4)
#define HV_PARTITION_CREATION_FLAG_EXO_PARTITION (1ull << 8)
#define HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED (1ull << 13)
#define HV_PARTITION_CREATION_FLAG_INTERCEPT_MESSAGE_PAGE_ENABLED (1ull << 19)
#define HV_PARTITION_CREATION_FLAG_X2APIC_CAPABLE (1ull << 22)

#define HV_PARTITION_PROCESSOR_FEATURES_BANKS 2

struct hv_input_create_partition {
    uint64_t flags;
    struct hv_proximity_domain_info proximity_domain_info;
    uint32_t compatibility_version;
    uint32_t padding;
    uint64_t disabled_processor_features[HV_PARTITION_PROCESSOR_FEATURES_BANKS];
    uint64_t disabled_processor_xsave_features;
    uint64_t isolation_properties;
} HV_PACKED;

struct hv_output_create_partition {
    uint64_t partition_id;
} HV_PACKED;

/* HvCallInitializePartition, HvCallFinalizePartition, HvCallDeletePartition */
struct hv_input_partition {
    uint64_t partition_id;
} HV_PACKED;

struct hv_output_get_partition_id {
    uint64_t partition_id;
} HV_PACKED;

/* HvCallDepositMemory (rep) and HvCallWithdrawMemory (rep): GPA page numbers of the caller. */
struct hv_input_deposit_memory {
    uint64_t partition_id;
    uint64_t gpa_page_list[];
} HV_PACKED;

struct hv_input_withdraw_memory {
    uint64_t partition_id;
    struct hv_proximity_domain_info proximity_domain_info;
} HV_PACKED;

/* HvCallGetMemoryBalance: pages deposited for the partition that are free, and all of them. */
struct hv_input_get_memory_balance {
    uint64_t partition_id;
    struct hv_proximity_domain_info proximity_domain_info;
} HV_PACKED;

struct hv_output_get_memory_balance {
    uint64_t pages_available;
    uint64_t pages_in_use;
} HV_PACKED;

enum hv_partition_property_code {
    HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS = 0x00010000,
    HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES = 0x00010001,
    HV_PARTITION_PROPERTY_SUSPEND = 0x00020000,
    HV_PARTITION_PROPERTY_CPU_RESERVE = 0x00020001,
    HV_PARTITION_PROPERTY_CPU_CAP = 0x00020002,
    HV_PARTITION_PROPERTY_CPU_WEIGHT = 0x00020003,
    HV_PARTITION_PROPERTY_CPU_GROUP_ID = 0x00020004,
    /* Not in the TLFS: which NUMA node its virtual processors run on; hv_proximity_domain_info. */
    HV_PARTITION_PROPERTY_PROXIMITY_DOMAIN = 0x0002ff00,
    HV_PARTITION_PROPERTY_TIME_FREEZE = 0x00030003,
    HV_PARTITION_PROPERTY_REFERENCE_TIME = 0x00030005,
    HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET = 0x00050003,
    HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING = 0x00050005,
    HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION = 0x00050017,
    HV_PARTITION_PROPERTY_PROCESSOR_VENDOR = 0x00060000,
    HV_PARTITION_PROPERTY_PROCESSOR_FEATURES_DEPRECATED = 0x00060001,
    HV_PARTITION_PROPERTY_PROCESSOR_XSAVE_FEATURES = 0x00060002,
    HV_PARTITION_PROPERTY_PROCESSOR_CL_FLUSH_SIZE = 0x00060003,
    HV_PARTITION_PROPERTY_PHYSICAL_ADDRESS_WIDTH = 0x00060006,
    HV_PARTITION_PROPERTY_XSAVE_STATES = 0x00060007,
    HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE = 0x00060008,
    HV_PARTITION_PROPERTY_PROCESSOR_CLOCK_FREQUENCY = 0x00060009,
    HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0 = 0x0006000a,
    HV_PARTITION_PROPERTY_PROCESSOR_FEATURES1 = 0x0006000b,
    HV_PARTITION_PROPERTY_VMM_CAPABILITIES = 0x00090007,
    HV_PARTITION_PROPERTY_ASSIGNABLE_SYNTHETIC_PROC_FEATURES = 0x00090009,
    /* By HvCallSetPartitionProperty it is for all virtual processors: LPs, a bit for each. */
    HV_PARTITION_VP_PROPERTY_SCHEDULING_AFFINITY_SET = 0x10001000,
};

/*
 * CPU reserve and cap: a fraction of a logical processor for each virtual processor, in 1/65536.
 * CPU weight: relative to others that share a logical processor.
 */
#define HV_PARTITION_CPU_FRACTION_MAX 0x10000u
#define HV_PARTITION_CPU_WEIGHT_MIN 1u
#define HV_PARTITION_CPU_WEIGHT_DEFAULT 100u
#define HV_PARTITION_CPU_WEIGHT_MAX 10000u

/* Values of HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION. */
enum hv_unimplemented_msr_action {
    HV_UNIMPLEMENTED_MSR_ACTION_FAULT = 0,
    HV_UNIMPLEMENTED_MSR_ACTION_IGNORE_WRITE_READ_ZERO = 1,
};

/* Bits of HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES. */
#define HV_SYNTHETIC_HYPERVISOR_PRESENT (1ull << 0)
#define HV_SYNTHETIC_HV1 (1ull << 1)
#define HV_SYNTHETIC_ACCESS_VP_RUN_TIME_REG (1ull << 2)
#define HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_COUNTER (1ull << 3)
#define HV_SYNTHETIC_ACCESS_SYNIC_REGS (1ull << 4)
#define HV_SYNTHETIC_ACCESS_SYNTHETIC_TIMER_REGS (1ull << 5)
#define HV_SYNTHETIC_ACCESS_INTR_CTRL_REGS (1ull << 6)
#define HV_SYNTHETIC_ACCESS_HYPERCALL_REGS (1ull << 7)
#define HV_SYNTHETIC_ACCESS_VP_INDEX (1ull << 8)
#define HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_TSC (1ull << 9)
#define HV_SYNTHETIC_ACCESS_GUEST_IDLE_REG (1ull << 10)
#define HV_SYNTHETIC_ACCESS_FREQUENCY_REGS (1ull << 11)
#define HV_SYNTHETIC_DIRECT_SYNTHETIC_TIMERS (1ull << 22)
#define HV_SYNTHETIC_EXTENDED_PROCESSOR_MASKS (1ull << 24)
#define HV_SYNTHETIC_TB_FLUSH_HYPERCALLS (1ull << 25)
#define HV_SYNTHETIC_CLUSTER_IPI (1ull << 26)
#define HV_SYNTHETIC_NOTIFY_LONG_SPIN_WAIT (1ull << 27)
#define HV_SYNTHETIC_QUERY_NUMA_DISTANCE (1ull << 28)
#define HV_SYNTHETIC_SIGNAL_EVENTS (1ull << 29)
#define HV_SYNTHETIC_RETARGET_DEVICE_INTERRUPT (1ull << 30)

/* HvCallGetPartitionProperty(Ex), HvCallSetPartitionProperty */
struct hv_input_get_partition_property {
    uint64_t partition_id;
    uint32_t property_code;
    uint32_t padding;
} HV_PACKED;

struct hv_output_get_partition_property {
    uint64_t property_value;
} HV_PACKED;

struct hv_input_set_partition_property {
    uint64_t partition_id;
    uint32_t property_code;
    uint32_t padding;
    uint64_t property_value;
} HV_PACKED;

struct hv_input_get_partition_property_ex {
    uint64_t partition_id;
    uint32_t property_code;
    uint32_t padding;
    uint64_t arg;
} HV_PACKED;

/* What HvCallGetPartitionPropertyEx answers for properties that are bit masks. */
struct hv_partition_property_banks {
    uint16_t bank_count;
    uint16_t reserved[3];
    uint64_t bank0;
} HV_PACKED;

/* Zeros behind what the property has. */
#define HV_PARTITION_PROPERTY_EX_MAX_VAR_SIZE \
    (HV_PAGE_SIZE - sizeof(struct hv_input_get_partition_property_ex))
union hv_output_get_partition_property_ex {
    uint8_t buffer[HV_PARTITION_PROPERTY_EX_MAX_VAR_SIZE];
    struct hv_partition_property_banks banks;
};

/* HvCallCreateVp; `flags` of a root VP is the index of the LP that it belongs to. */
struct hv_input_create_vp {
    uint64_t partition_id;
    uint32_t vp_index;
    uint8_t padding[3];
    uint8_t subnode_type;
    uint64_t subnode_id;
    struct hv_proximity_domain_info proximity_domain_info;
    uint64_t flags;
} HV_PACKED;

struct hv_input_delete_vp {
    uint64_t partition_id;
    uint32_t vp_index;
    uint32_t reserved;
} HV_PACKED;

/* HvCallDispatchVp: the root runs a child's virtual processor in the place of its own. */
#define HV_DISPATCH_VP_FLAG_CLEAR_INTERCEPT_SUSPEND 0x1u
#define HV_DISPATCH_VP_FLAG_ENABLE_CALLER_INTERRUPTS 0x2u
#define HV_DISPATCH_VP_FLAG_SET_CALLER_SPEC_CTRL 0x4u
#define HV_DISPATCH_VP_FLAG_SKIP_VP_SPEC_FLUSH 0x8u
#define HV_DISPATCH_VP_FLAG_SKIP_CALLER_SPEC_FLUSH 0x10u
#define HV_DISPATCH_VP_FLAG_SKIP_CALLER_USER_SPEC_FLUSH 0x20u
#define HV_DISPATCH_VP_FLAG_SCAN_INTERRUPT_INJECTION 0x40u

struct hv_input_dispatch_vp {
    uint64_t partition_id;
    uint32_t vp_index;
    uint32_t flags;
    uint64_t time_slice; /* 100 ns units; 0: until something happens */
    uint64_t spec_ctrl;
} HV_PACKED;

enum hv_vp_dispatch_state {
    HV_VP_DISPATCH_STATE_INVALID = 0,
    HV_VP_DISPATCH_STATE_BLOCKED = 1, /* a message tells when it may be dispatched again */
    HV_VP_DISPATCH_STATE_READY = 2,
};

enum hv_vp_dispatch_event {
    HV_VP_DISPATCH_EVENT_INVALID = 0, /* nothing of the virtual processor's own */
    HV_VP_DISPATCH_EVENT_SUSPEND = 1,
    HV_VP_DISPATCH_EVENT_INTERCEPT = 2,
};

struct hv_output_dispatch_vp {
    uint32_t dispatch_state;
    uint32_t dispatch_event;
} HV_PACKED;

/* HvCallMapVpStatePage, HvCallUnmapVpStatePage */
enum hv_vp_state_page_type {
    HV_VP_STATE_PAGE_REGISTERS = 0,
    HV_VP_STATE_PAGE_INTERCEPT_MESSAGE = 1,
    HV_VP_STATE_PAGE_GHCB = 2,
};

struct hv_input_map_vp_state_page {
    uint64_t partition_id;
    uint32_t vp_index;
    uint16_t type;
    struct hv_input_vtl input_vtl;
    uint8_t flags; /* bit 0: requested_map_location is given */
    uint64_t requested_map_location;
} HV_PACKED;

struct hv_output_map_vp_state_page {
    uint64_t map_location; /* GPA page number of the caller */
} HV_PACKED;

struct hv_input_unmap_vp_state_page {
    uint64_t partition_id;
    uint32_t vp_index;
    uint16_t type;
    struct hv_input_vtl input_vtl;
    uint8_t reserved;
} HV_PACKED;

/* HvCallGetVpState, HvCallSetVpState: bit 31 of the type says that data is in pages of the caller.
 */
#define HV_VP_STATE_TYPE_PFN (1u << 31)

enum hv_vp_state_type {
    HV_VP_STATE_LAPIC = 0,
    HV_VP_STATE_XSAVE = 1,
    HV_VP_STATE_SIM_PAGE = 2,
    HV_VP_STATE_SIEF_PAGE = 3,
    HV_VP_STATE_SYNTHETIC_TIMERS = 4,
};

struct hv_input_vp_state {
    uint64_t partition_id;
    uint32_t vp_index;
    uint8_t input_vtl;
    uint8_t reserved0;
    uint16_t reserved1;
    uint32_t type;
    uint32_t reserved2;
    uint64_t xsave_flags;
    uint64_t xsave_states;
    uint64_t data[]; /* page numbers, or the state itself */
} HV_PACKED;

/* HvCallGetVpIndexFromApicId (rep) */
struct hv_input_get_vp_index_from_apic_id {
    uint64_t partition_id;
    struct hv_input_vtl target_vtl;
    uint8_t reserved[7];
    uint32_t apic_ids[];
} HV_PACKED;

/* HvCallGetVpCpuidValues (rep) */
struct hv_cpuid_leaf_info {
    uint32_t eax;
    uint32_t ecx;
    uint64_t xfem;
    uint64_t xss;
} HV_PACKED;

#define HV_GET_VP_CPUID_VALUES_USE_VP_XFEM_XSS (1u << 0) /* not those of the leaf */
#define HV_GET_VP_CPUID_VALUES_APPLY_REGISTERED_VALUES (1u << 1)

struct hv_input_get_vp_cpuid_values {
    uint64_t partition_id;
    uint32_t vp_index;
    uint32_t flags;
    uint32_t reserved;
    uint32_t padding;
    struct hv_cpuid_leaf_info leaves[];
} HV_PACKED;

union hv_output_get_vp_cpuid_values {
    struct {
        uint32_t eax;
        uint32_t ebx;
        uint32_t ecx;
        uint32_t edx;
    };
    uint32_t as_uint32[4];
};

/* HvCallInstallIntercept */
enum hv_intercept_type {
    HV_INTERCEPT_TYPE_X64_IO_PORT = 0,
    HV_INTERCEPT_TYPE_X64_MSR = 1,
    HV_INTERCEPT_TYPE_X64_CPUID = 2,
    HV_INTERCEPT_TYPE_EXCEPTION = 3,
    HV_INTERCEPT_TYPE_MMIO = 5,
    HV_INTERCEPT_TYPE_X64_GLOBAL_CPUID = 6,
    HV_INTERCEPT_TYPE_X64_APIC_SMI = 7,
    HV_INTERCEPT_TYPE_HYPERCALL = 8,
    HV_INTERCEPT_TYPE_X64_APIC_INIT_SIPI = 9,
    HV_INTERCEPT_TYPE_X64_APIC_WRITE = 11,
    HV_INTERCEPT_TYPE_X64_MSR_INDEX = 12,
    HV_INTERCEPT_TYPE_UNKNOWN_SYNIC_CONNECTION = 13,
    HV_INTERCEPT_TYPE_X64_APIC_EOI = 14,
    HV_INTERCEPT_TYPE_RETARGET_INTERRUPT_WITH_UNKNOWN_DEVICE_ID = 15,
    HV_INTERCEPT_TYPE_X64_EXCEPTION_TRAP = 16,
    HV_INTERCEPT_TYPE_X64_IO_PORT_RANGE = 17,
};

#define HV_INTERCEPT_ACCESS_MASK_NONE 0u
#define HV_INTERCEPT_ACCESS_MASK_READ 1u
#define HV_INTERCEPT_ACCESS_MASK_WRITE 2u
#define HV_INTERCEPT_ACCESS_MASK_EXECUTE 4u

struct hv_input_install_intercept {
    uint64_t partition_id;
    uint32_t access_type; /* HV_INTERCEPT_ACCESS_MASK_… */
    uint32_t intercept_type;
    union {
        uint64_t as_uint64;
        uint16_t io_port;
        uint32_t cpuid_index;
        uint16_t exception_vector;
        uint32_t msr_index;
        struct {
            uint16_t base;
            uint16_t end; /* the last one */
        } HV_PACKED io_port_range;
    } intercept_parameter;
} HV_PACKED;

/* HvCallRegisterInterceptResult: what CPUID answers, or what an MSR does that is not implemented.
 */
struct hv_cpuid_result_input {
    uint32_t eax;
    uint32_t ecx;
    uint8_t subleaf_specific;
    uint8_t always_override;
    uint16_t padding;
} HV_PACKED;

struct hv_input_register_intercept_result {
    uint64_t partition_id;
    uint32_t vp_index;
    uint32_t intercept_type;
    union {
        struct {
            struct hv_cpuid_result_input input;
            struct {
                uint32_t eax;
                uint32_t eax_mask;
                uint32_t ebx;
                uint32_t ebx_mask;
                uint32_t ecx;
                uint32_t ecx_mask;
                uint32_t edx;
                uint32_t edx_mask;
            } HV_PACKED result;
        } HV_PACKED cpuid;
        struct {
            uint32_t msr_index;
            uint32_t access_type; /* HV_INTERCEPT_ACCESS_MASK_… */
            uint32_t action;      /* HV_UNIMPLEMENTED_MSR_ACTION_… */
        } HV_PACKED msr;
    };
} HV_PACKED;

/* HvCallUnregisterInterceptResult: which of them goes. */
struct hv_input_unregister_intercept_result {
    uint64_t partition_id;
    uint32_t vp_index;
    uint32_t intercept_type;
    union {
        struct hv_cpuid_result_input cpuid;
        struct {
            uint32_t msr_index;
            uint32_t access_type;
            uint32_t padding;
        } HV_PACKED msr;
    };
} HV_PACKED;
