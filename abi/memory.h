/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest physical address space: mapping, access states, address translation, TLB flushes (TLFS
 * "GPA", "Virtual MMU and Caching"; map flags as in upstream Linux, include/hyperv/hvhdk_mini.h).
 */
#pragma once
#pragma GCC system_header /* anonymous structs and flexible arrays are what the layouts are */

#include "abi/types.h"

/* Map flags. */
#define HV_MAP_GPA_READABLE 0x1u
#define HV_MAP_GPA_WRITABLE 0x2u
#define HV_MAP_GPA_KERNEL_EXECUTABLE 0x4u
#define HV_MAP_GPA_USER_EXECUTABLE 0x8u
#define HV_MAP_GPA_EXECUTABLE 0xcu
#define HV_MAP_GPA_PERMISSIONS_MASK 0xfu
#define HV_MAP_GPA_ADJUSTABLE 0x8000u
#define HV_MAP_GPA_NO_ACCESS 0x10000u
#define HV_MAP_GPA_NOT_CACHED 0x200000u
#define HV_MAP_GPA_LARGE_PAGE 0x80000000u

#define HV_UNMAP_GPA_LARGE_PAGE 0x2u

/* HvCallMapGpaPages (rep): with HV_MAP_GPA_LARGE_PAGE a rep is 2 MiB, else 4 KiB. */
struct hv_input_map_gpa_pages {
    uint64_t target_partition_id;
    uint64_t target_gpa_base; /* page number */
    uint32_t map_flags;
    uint32_t padding;
    uint64_t source_gpa_page_list[];
} HV_PACKED;

/* HvCallUnmapGpaPages (rep) */
struct hv_input_unmap_gpa_pages {
    uint64_t target_partition_id;
    uint64_t target_gpa_base;
    uint32_t unmap_flags;
    uint32_t padding;
} HV_PACKED;

/* HvCallGetGpaPagesAccessStates (rep): one byte of output a page. */
#define HV_GPA_ACCESS_CLEAR_ACCESSED 0x1ull
#define HV_GPA_ACCESS_SET_ACCESSED 0x2ull
#define HV_GPA_ACCESS_CLEAR_DIRTY 0x4ull
#define HV_GPA_ACCESS_SET_DIRTY 0x8ull

#define HV_GPA_PAGE_ACCESSED 0x1u
#define HV_GPA_PAGE_DIRTY 0x2u

struct hv_input_get_gpa_pages_access_state {
    uint64_t partition_id;
    uint64_t flags;
    uint64_t gpa_page_number;
} HV_PACKED;

/* HvCallTranslateVirtualAddress */
#define HV_TRANSLATE_GVA_VALIDATE_READ 0x1ull
#define HV_TRANSLATE_GVA_VALIDATE_WRITE 0x2ull
#define HV_TRANSLATE_GVA_VALIDATE_EXECUTE 0x4ull
#define HV_TRANSLATE_GVA_PRIVILEGE_EXEMPT 0x8ull
#define HV_TRANSLATE_GVA_SET_PAGE_TABLE_BITS 0x10ull
#define HV_TRANSLATE_GVA_TLB_FLUSH_INHIBIT 0x20ull

enum hv_translate_gva_result_code {
    HV_TRANSLATE_GVA_SUCCESS = 0,
    HV_TRANSLATE_GVA_PAGE_NOT_PRESENT = 1,
    HV_TRANSLATE_GVA_PRIVILEGE_VIOLATION = 2,
    HV_TRANSLATE_GVA_INVALID_PAGE_TABLE_FLAGS = 3,
    HV_TRANSLATE_GVA_GPA_UNMAPPED = 4,
    HV_TRANSLATE_GVA_GPA_NO_READ_ACCESS = 5,
    HV_TRANSLATE_GVA_GPA_NO_WRITE_ACCESS = 6,
    HV_TRANSLATE_GVA_GPA_ILLEGAL_OVERLAY_ACCESS = 7,
    HV_TRANSLATE_GVA_INTERCEPT = 8,
};

struct hv_input_translate_virtual_address {
    uint64_t partition_id;
    uint32_t vp_index;
    uint32_t padding;
    uint64_t control_flags;
    uint64_t gva_page;
} HV_PACKED;

struct hv_output_translate_virtual_address {
    uint32_t result_code;
    uint32_t cache_type : 8;
    uint32_t overlay_page : 1;
    uint32_t reserved : 23;
    uint64_t gpa_page;
} HV_PACKED;

/* HvCallFlushVirtualAddressSpace(Ex), HvCallFlushVirtualAddressList(Ex) */
#define HV_FLUSH_ALL_PROCESSORS 0x1ull
#define HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES 0x2ull
#define HV_FLUSH_NON_GLOBAL_MAPPINGS_ONLY 0x4ull
#define HV_FLUSH_USE_EXTENDED_RANGE_FORMAT 0x8ull

struct hv_input_flush_virtual_address_space {
    uint64_t address_space;
    uint64_t flags;
    uint64_t processor_mask;
} HV_PACKED;

struct hv_input_flush_virtual_address_space_ex {
    uint64_t address_space;
    uint64_t flags;
    struct hv_vp_set vp_set;
} HV_PACKED;
