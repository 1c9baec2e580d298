/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: logical processors, system properties, sleep states, statistics pages (as upstream
 * Linux uses them: include/hyperv/hvhdk_mini.h, drivers/hv/mshv_debugfs_counters.c).
 */
#pragma once
#pragma GCC system_header /* anonymous structs and flexible arrays are what the layouts are */

#include "abi/types.h"

struct hv_input_get_logical_processor_run_time {
    uint32_t lp_index;
} HV_PACKED;

struct hv_output_get_logical_processor_run_time {
    uint64_t global_time;
    uint64_t local_run_time;
    uint64_t reserved;
    uint64_t hypervisor_time;
} HV_PACKED;

struct hv_input_add_logical_processor {
    uint32_t lp_index;
    uint32_t apic_id;
    struct hv_proximity_domain_info proximity_domain_info;
} HV_PACKED;

struct hv_output_add_logical_processor {
    uint64_t hv_status;
    uint64_t substatus[6];
} HV_PACKED;

enum hv_partition_event { HV_PARTITION_ALL_LOGICAL_PROCESSORS_STARTED = 4 };

struct hv_input_notify_partition_event {
    uint32_t event;
    uint32_t input;
} HV_PACKED;

enum hv_system_property {
    HV_SYSTEM_PROPERTY_SLEEP_STATE = 3,
    HV_SYSTEM_PROPERTY_SCHEDULER_TYPE = 15,
};

enum hv_scheduler_type {
    HV_SCHEDULER_TYPE_LP = 1,
    HV_SCHEDULER_TYPE_LP_SMT = 2,
    HV_SCHEDULER_TYPE_CORE_SMT = 3,
    HV_SCHEDULER_TYPE_ROOT = 4,
};

struct hv_input_get_system_property {
    uint32_t property_id;
    uint32_t reserved;
    uint64_t argument;
} HV_PACKED;

struct hv_output_get_system_property {
    uint64_t value;
} HV_PACKED;

enum hv_sleep_state {
    HV_SLEEP_STATE_S1 = 1,
    HV_SLEEP_STATE_S2 = 2,
    HV_SLEEP_STATE_S3 = 3,
    HV_SLEEP_STATE_S4 = 4,
    HV_SLEEP_STATE_S5 = 5,
};

struct hv_input_set_system_property {
    uint32_t property_id;
    uint32_t reserved;
    union {
        struct {
            uint32_t sleep_state;
            uint8_t pm1a_slp_typ;
            uint8_t pm1b_slp_typ;
        } HV_PACKED set_sleep_state_info;
        uint64_t padding[8];
    };
} HV_PACKED;

struct hv_input_enter_sleep_state {
    uint32_t sleep_state;
} HV_PACKED;

/* Statistics pages: 512 counters of 64 bits each. */
enum hv_stats_object_type {
    HV_STATS_OBJECT_HYPERVISOR = 0x00000001,
    HV_STATS_OBJECT_LOGICAL_PROCESSOR = 0x00000002,
    HV_STATS_OBJECT_PARTITION = 0x00010001,
    HV_STATS_OBJECT_VP = 0x00010002,
};

enum hv_stats_area_type { HV_STATS_AREA_SELF = 0, HV_STATS_AREA_PARENT = 1 };

union hv_stats_object_identity {
    uint8_t bytes[16];
    struct {
        uint8_t reserved[15];
        uint8_t stats_area_type;
    } HV_PACKED hypervisor;
    struct {
        uint32_t lp_index;
        uint8_t reserved[11];
        uint8_t stats_area_type;
    } HV_PACKED lp;
    struct {
        uint64_t partition_id;
        uint8_t reserved[7];
        uint8_t stats_area_type;
    } HV_PACKED partition;
    struct {
        uint64_t partition_id;
        uint32_t vp_index;
        uint16_t flags;
        uint8_t reserved;
        uint8_t stats_area_type;
    } HV_PACKED vp;
};

/* HvCallMapStatsPage, HvCallUnmapStatsPage */
struct hv_input_stats_page {
    uint32_t type;
    uint32_t padding;
    union hv_stats_object_identity identity;
} HV_PACKED;

struct hv_output_map_stats_page {
    uint64_t map_location; /* GPA page number of the caller */
} HV_PACKED;
