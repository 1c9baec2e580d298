/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts: assertion, device interrupts of the root, IPIs (TLFS "Virtual Interrupt Control";
 * device interrupts as in upstream Linux, include/hyperv/hvhdk_mini.h).
 */
#pragma once
#pragma GCC system_header /* anonymous structs and flexible arrays are what the layouts are */

#include "abi/types.h"

enum hv_interrupt_type {
    HV_X64_INTERRUPT_TYPE_FIXED = 0,
    HV_X64_INTERRUPT_TYPE_LOWESTPRIORITY = 1,
    HV_X64_INTERRUPT_TYPE_SMI = 2,
    HV_X64_INTERRUPT_TYPE_REMOTEREAD = 3,
    HV_X64_INTERRUPT_TYPE_NMI = 4,
    HV_X64_INTERRUPT_TYPE_INIT = 5,
    HV_X64_INTERRUPT_TYPE_SIPI = 6,
    HV_X64_INTERRUPT_TYPE_EXTINT = 7,
    HV_X64_INTERRUPT_TYPE_LOCALINT0 = 8,
    HV_X64_INTERRUPT_TYPE_LOCALINT1 = 9,
};

/* HV_INTERRUPT_CONTROL */
struct hv_interrupt_control {
    uint32_t interrupt_type;
    uint32_t level_triggered : 1;
    uint32_t logical_dest_mode : 1;
    uint32_t reserved : 30;
} HV_PACKED;

struct hv_input_assert_virtual_interrupt {
    uint64_t partition_id;
    struct hv_interrupt_control control;
    uint64_t dest_addr; /* APIC id, or logical destination */
    uint32_t vector;
    uint8_t target_vtl;
    uint8_t reserved0;
    uint16_t reserved1;
} HV_PACKED;

/* HV_DEVICE_ID */
enum hv_device_type {
    HV_DEVICE_TYPE_LOGICAL = 0,
    HV_DEVICE_TYPE_PCI = 1,
    HV_DEVICE_TYPE_IOAPIC = 2,
    HV_DEVICE_TYPE_ACPI = 3,
};

#define HV_DEVICE_ID_TYPE_SHIFT 62

enum hv_interrupt_source { HV_INTERRUPT_SOURCE_MSI = 1, HV_INTERRUPT_SOURCE_IOAPIC = 2 };
enum hv_interrupt_trigger_mode {
    HV_INTERRUPT_TRIGGER_MODE_EDGE = 0,
    HV_INTERRUPT_TRIGGER_MODE_LEVEL = 1,
};

/* HV_INTERRUPT_ENTRY: what the root writes into the device (MSI) or the I/O APIC (RTE). */
struct hv_interrupt_entry {
    uint32_t source;
    uint32_t reserved;
    union {
        struct {
            uint32_t address;
            uint32_t data;
        } HV_PACKED msi;
        uint64_t ioapic_rte;
    };
} HV_PACKED;

#define HV_DEVICE_INTERRUPT_TARGET_MULTICAST 1u
#define HV_DEVICE_INTERRUPT_TARGET_PROCESSOR_SET 2u

/* HV_DEVICE_INTERRUPT_TARGET */
struct hv_device_interrupt_target {
    uint32_t vector;
    uint32_t flags;
    union {
        uint64_t vp_mask;
        struct hv_vp_set vp_set;
    };
} HV_PACKED;

struct hv_input_map_device_interrupt {
    uint64_t partition_id;
    uint64_t device_id;
    uint32_t flags;
    uint32_t base_irt_idx;
    struct hv_interrupt_entry logical_interrupt_entry;
    uint32_t interrupt_type;
    uint32_t trigger_mode;
    uint32_t vector_count;
    uint32_t reserved;
    struct hv_device_interrupt_target target;
} HV_PACKED;

struct hv_output_map_device_interrupt {
    struct hv_interrupt_entry interrupt_entry;
    uint64_t ext_status_deprecated[5];
} HV_PACKED;

struct hv_input_unmap_device_interrupt {
    uint64_t partition_id;
    uint64_t device_id;
    struct hv_interrupt_entry interrupt_entry;
    uint32_t flags;
} HV_PACKED;

/* HvCallRetargetDeviceInterrupt; the set of processors is a variable header. */
struct hv_input_retarget_device_interrupt {
    uint64_t partition_id;
    uint64_t device_id;
    struct hv_interrupt_entry interrupt_entry;
    uint64_t reserved;
    struct hv_device_interrupt_target target;
} HV_PACKED;

/* HvCallSendSyntheticClusterIpi(Ex) */
struct hv_input_send_synthetic_cluster_ipi {
    uint32_t vector;
    uint32_t reserved;
    uint64_t processor_mask;
} HV_PACKED;

struct hv_input_send_synthetic_cluster_ipi_ex {
    uint32_t vector;
    uint32_t reserved;
    struct hv_vp_set vp_set;
} HV_PACKED;
