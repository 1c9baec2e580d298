/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Basic types of the hypervisor interface. Names and layouts are those of the Hypervisor Top-Level
 * Functional Specification (TLFS), "Data Types"; what only a root partition uses is read off
 * upstream Linux (include/hyperv/hvgdk_mini.h, hvhdk_mini.h).
 */
#pragma once
#pragma GCC system_header /* anonymous structs and flexible arrays are what the layouts are */

#include <stdint.h>

#define HV_PACKED __attribute__((packed))

#define HV_PAGE_SHIFT 12
#define HV_PAGE_SIZE (1u << HV_PAGE_SHIFT)
#define HV_LARGE_PAGE_SHIFT 21

/* Partition and virtual processor identifiers. */
#define HV_PARTITION_ID_INVALID 0ull
#define HV_PARTITION_ID_SELF (~0ull)
#define HV_VP_INDEX_SELF 0xfffffffeu
#define HV_ANY_VP 0xffffffffu
#define HV_MAX_VP_INDEX 2047u

struct hv_u128 {
    uint64_t low;
    uint64_t high;
} HV_PACKED;

/* HV_VP_SET: a set of VP indexes (TLFS "Virtual Processor Sets"). */
enum hv_generic_set_format { HV_GENERIC_SET_SPARSE_4K = 0, HV_GENERIC_SET_ALL = 1 };

#define HV_VPS_PER_SPARSE_BANK 64u
#define HV_MAX_SPARSE_BANKS 64u

struct hv_vp_set {
    uint64_t format;
    uint64_t valid_bank_mask;
    uint64_t bank_contents[];
} HV_PACKED;

/* HV_INPUT_VTL: which virtual trust level a call is about; only VTL 0 exists. */
struct hv_input_vtl {
    uint8_t target_vtl : 4;
    uint8_t use_target_vtl : 1;
    uint8_t reserved : 3;
} HV_PACKED;

/* HV_PROXIMITY_DOMAIN_INFO */
struct hv_proximity_domain_info {
    uint32_t domain_id;
    uint32_t proximity_preferred : 1;
    uint32_t reserved : 30;
    uint32_t proximity_info_valid : 1;
} HV_PACKED;
