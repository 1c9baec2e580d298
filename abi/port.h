/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports and connections (TLFS "Inter-Partition Communication"; doorbells as in upstream Linux,
 * include/hyperv/hvhdk.h).
 */
#pragma once
#pragma GCC system_header /* anonymous structs and flexible arrays are what the layouts are */

#include "abi/types.h"

enum hv_port_type {
    HV_PORT_TYPE_MESSAGE = 1,
    HV_PORT_TYPE_EVENT = 2,
    HV_PORT_TYPE_MONITOR = 3,
    HV_PORT_TYPE_DOORBELL = 4,
};

#define HV_PORT_ID_MASK 0x00ffffffu

struct hv_port_info {
    uint32_t port_type;
    uint32_t padding;
    union {
        struct {
            uint32_t target_sint;
            uint32_t target_vp;
            uint64_t reserved;
        } HV_PACKED message;
        struct {
            uint32_t target_sint;
            uint32_t target_vp;
            uint16_t base_flag_number;
            uint16_t flag_count;
            uint32_t reserved;
        } HV_PACKED event;
        struct {
            uint32_t target_sint;
            uint32_t target_vp;
            uint64_t reserved;
        } HV_PACKED doorbell;
    };
} HV_PACKED;

/* Flags of a doorbell connection. */
#define HV_DOORBELL_FLAG_TRIGGER_SIZE_MASK 0x7ull
#define HV_DOORBELL_FLAG_TRIGGER_SIZE_ANY 0x0ull
#define HV_DOORBELL_FLAG_TRIGGER_SIZE_BYTE 0x1ull
#define HV_DOORBELL_FLAG_TRIGGER_SIZE_WORD 0x2ull
#define HV_DOORBELL_FLAG_TRIGGER_SIZE_DWORD 0x3ull
#define HV_DOORBELL_FLAG_TRIGGER_SIZE_QWORD 0x4ull
#define HV_DOORBELL_FLAG_TRIGGER_ANY_VALUE 0x80000000ull

/*
 * Undercroft: a doorbell of a child that lies in this window is the target of the child's
 * HvCallSignalEvent on the connection whose id is (gpa - base) / stride, and of nothing else: an
 * access to the address itself is an access to unmapped memory. The window is above every address
 * that guest memory or MMIO can have, below 2^52.
 */
#define HV_SIGNAL_WINDOW_BASE 0x000f000000000000ull
#define HV_SIGNAL_WINDOW_STRIDE 8ull
#define HV_SIGNAL_WINDOW_SIZE (HV_SIGNAL_WINDOW_STRIDE << 24)

struct hv_connection_info {
    uint32_t port_type;
    uint32_t padding;
    union {
        struct {
            uint64_t gpa;
            uint64_t trigger_value;
            uint64_t flags;
        } HV_PACKED doorbell;
        uint64_t reserved[3];
    };
} HV_PACKED;

struct hv_input_create_port {
    uint64_t port_partition_id;
    uint32_t port_id;
    uint8_t port_vtl;
    uint8_t min_connection_vtl;
    uint16_t padding;
    uint64_t connection_partition_id;
    struct hv_port_info port_info;
    struct hv_proximity_domain_info proximity_domain_info;
} HV_PACKED;

struct hv_input_delete_port {
    uint64_t port_partition_id;
    uint32_t port_id;
    uint32_t reserved;
} HV_PACKED;

struct hv_input_connect_port {
    uint64_t connection_partition_id;
    uint32_t connection_id;
    uint8_t connection_vtl;
    uint8_t reserved0;
    uint16_t reserved1;
    uint64_t port_partition_id;
    uint32_t port_id;
    uint32_t reserved2;
    struct hv_connection_info connection_info;
    struct hv_proximity_domain_info proximity_domain_info;
} HV_PACKED;

struct hv_input_disconnect_port {
    uint64_t connection_partition_id;
    uint32_t connection_id;
    uint32_t is_doorbell : 1;
    uint32_t reserved : 31;
} HV_PACKED;

struct hv_input_notify_port_ring_empty {
    uint32_t sint_index;
    uint32_t reserved;
} HV_PACKED;

struct hv_input_signal_event {
    uint32_t connection_id;
    uint16_t flag_number;
    uint16_t reserved;
} HV_PACKED;

struct hv_input_post_message {
    uint32_t connection_id;
    uint32_t reserved;
    uint32_t message_type;
    uint32_t payload_size;
    uint8_t payload[240];
} HV_PACKED;

/* HvCallSignalEventDirect: the caller names VP, SINT and flag itself. */
struct hv_input_signal_event_direct {
    uint64_t target_partition;
    uint32_t target_vp;
    uint8_t target_vtl;
    uint8_t target_sint;
    uint16_t flag_number;
} HV_PACKED;

struct hv_output_signal_event_direct {
    uint8_t newly_signaled;
    uint8_t reserved[7];
} HV_PACKED;

/* HvCallPostMessageDirect */
struct hv_input_post_message_direct {
    uint64_t partition_id;
    uint32_t vp_index;
    uint8_t vtl;
    uint8_t padding[3];
    uint32_t sint_index;
    uint8_t message[256];
    uint32_t padding2;
} HV_PACKED;
