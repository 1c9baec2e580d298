/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The synthetic interrupt controller: its registers, pages and timers (TLFS "Virtual Interrupt
 * Control", "Timers"; event rings as in upstream Linux, include/hyperv/hvhdk.h).
 */
#pragma once
#pragma GCC system_header /* anonymous structs and flexible arrays are what the layouts are */

#include "abi/message.h"

#define HV_SYNIC_SINT_COUNT 16
#define HV_SYNIC_STIMER_COUNT 4
#define HV_SYNIC_VERSION_1 1u

/* Statically assigned SINTs of the root partition. */
#define HV_SYNIC_INTERCEPTION_SINT 0u

/* HV_SYNIC_SINT */
union hv_synic_sint {
    uint64_t as_uint64;
    struct {
        uint64_t vector : 8;
        uint64_t reserved1 : 8;
        uint64_t masked : 1;
        uint64_t auto_eoi : 1;
        uint64_t polling : 1;
        uint64_t as_intercept : 1;
        uint64_t proxy : 1;
        uint64_t reserved2 : 43;
    } HV_PACKED;
};

struct hv_message_page {
    struct hv_message sint_message[HV_SYNIC_SINT_COUNT];
} HV_PACKED;

#define HV_EVENT_FLAGS_BYTE_COUNT 256
#define HV_EVENT_FLAGS_COUNT 2048

struct hv_synic_event_flags_page {
    uint8_t flags[HV_SYNIC_SINT_COUNT][HV_EVENT_FLAGS_BYTE_COUNT];
} HV_PACKED;

#define HV_SYNIC_EVENT_RING_MESSAGE_COUNT 63

struct hv_synic_event_ring {
    uint8_t signal_masked;
    uint8_t ring_full;
    uint16_t reserved;
    uint32_t data[HV_SYNIC_EVENT_RING_MESSAGE_COUNT];
} HV_PACKED;

struct hv_synic_event_ring_page {
    struct hv_synic_event_ring sint_event_ring[HV_SYNIC_SINT_COUNT];
} HV_PACKED;

/* HV_X64_MSR_STIMER_CONFIG_CONTENTS */
union hv_stimer_config {
    uint64_t as_uint64;
    struct {
        uint64_t enable : 1;
        uint64_t periodic : 1;
        uint64_t lazy : 1;
        uint64_t auto_enable : 1;
        uint64_t apic_vector : 8;
        uint64_t direct_mode : 1;
        uint64_t reserved1 : 3;
        uint64_t sintx : 4;
        uint64_t reserved2 : 44;
    } HV_PACKED;
};

/* State of the synthetic timers as HvCallGetVpState and HvCallSetVpState transfer it. */
struct hv_stimer_state {
    uint32_t undelivered_message_pending : 1;
    uint32_t reserved0 : 31;
    uint32_t reserved1;
    uint64_t config;
    uint64_t count;
    uint64_t adjustment;
    uint64_t undelivered_expiration_time;
} HV_PACKED;

struct hv_synthetic_timers_state {
    struct hv_stimer_state timers[HV_SYNIC_STIMER_COUNT];
    uint64_t reserved[5];
} HV_PACKED;

/*
 * HV_REFERENCE_TSC_PAGE: reference time = ((tsc * tsc_scale) >> 64) + tsc_offset, in 100 ns;
 * a sequence of 0 means: read HV_X64_MSR_TIME_REF_COUNT instead.
 */
struct hv_reference_tsc_page {
    uint32_t tsc_sequence;
    uint32_t reserved;
    uint64_t tsc_scale;
    int64_t tsc_offset;
} HV_PACKED;

/* HV_VP_ASSIST_PAGE: the part that is used. Bit 0 of apic_assist: no EOI is required. */
struct hv_vp_assist_page {
    uint32_t apic_assist;
    uint32_t reserved;
} HV_PACKED;
