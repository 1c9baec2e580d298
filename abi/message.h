/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SynIC messages and the intercept messages that they carry (TLFS "Inter-Partition Communication",
 * "Intercepts"; the layouts that the TLFS leaves out as in upstream Linux, include/hyperv/hvhdk.h).
 */
#pragma once
#pragma GCC system_header /* anonymous structs and flexible arrays are what the layouts are */

#include "abi/register.h"
#include "abi/types.h"

enum hv_message_type {
    HVMSG_NONE = 0x00000000,
    HVMSG_UNMAPPED_GPA = 0x80000000,
    HVMSG_GPA_INTERCEPT = 0x80000001,
    HVMSG_TIMER_EXPIRED = 0x80000010,
    HVMSG_INVALID_VP_REGISTER_VALUE = 0x80000020,
    HVMSG_UNRECOVERABLE_EXCEPTION = 0x80000021,
    HVMSG_UNSUPPORTED_FEATURE = 0x80000022,
    HVMSG_OPAQUE_INTERCEPT = 0x8000003f,
    HVMSG_HYPERCALL_INTERCEPT = 0x80000050,
    HVMSG_SYNIC_EVENT_INTERCEPT = 0x80000060,
    HVMSG_SYNIC_SINT_INTERCEPT = 0x80000061,
    HVMSG_SYNIC_SINT_DELIVERABLE = 0x80000062,
    HVMSG_ASYNC_CALL_COMPLETION = 0x80000070,
    HVMSG_SCHEDULER_VP_SIGNAL_BITSET = 0x80000100,
    HVMSG_X64_IO_PORT_INTERCEPT = 0x80010000,
    HVMSG_X64_MSR_INTERCEPT = 0x80010001,
    HVMSG_X64_CPUID_INTERCEPT = 0x80010002,
    HVMSG_X64_EXCEPTION_INTERCEPT = 0x80010003,
    HVMSG_X64_APIC_EOI = 0x80010004,
    HVMSG_X64_HALT = 0x80010007,
    HVMSG_X64_INTERRUPTION_DELIVERABLE = 0x80010008,
    HVMSG_X64_SIPI_INTERCEPT = 0x80010009,
};

#define HV_MESSAGE_SIZE 256
#define HV_MESSAGE_PAYLOAD_BYTE_COUNT 240
#define HV_MESSAGE_FLAG_PENDING 1u

/* HV_MESSAGE */
struct hv_message_header {
    uint32_t message_type;
    uint8_t payload_size;
    uint8_t message_flags;
    uint8_t reserved[2];
    union {
        uint64_t sender; /* partition id */
        uint32_t port;   /* HV_PORT_ID */
    };
} HV_PACKED;

struct hv_message {
    struct hv_message_header header;
    uint8_t payload[HV_MESSAGE_PAYLOAD_BYTE_COUNT];
} HV_PACKED;

/* Payload of HVMSG_OPAQUE_INTERCEPT: the message itself is in the VP's intercept message page. */
struct hv_opaque_intercept_message {
    uint32_t vp_index;
} HV_PACKED;

/*
 * Payload of HVMSG_SCHEDULER_VP_SIGNAL_BITSET: virtual processors that the root may dispatch again.
 * `vp_set` is sparse; what is here is its form with one bank.
 */
struct hv_vp_signal_bitset_scheduler_message {
    uint64_t partition_id;
    uint32_t overflow_count;
    uint16_t vp_count;
    uint16_t reserved;
    uint64_t format;
    uint64_t valid_bank_mask;
    uint64_t bank_contents;
} HV_PACKED;

/* Payload of HVMSG_SYNIC_SINT_INTERCEPT: a SINT whose `as_intercept` is set has been signalled. */
struct hv_notification_message_payload {
    uint32_t sint_index;
} HV_PACKED;

/* HV_TIMER_MESSAGE_PAYLOAD; times in 100 ns of the partition's reference time. */
struct hv_timer_message_payload {
    uint32_t timer_index;
    uint32_t reserved;
    uint64_t expiration_time;
    uint64_t delivery_time;
} HV_PACKED;

enum hv_intercept_access_type {
    HV_INTERCEPT_ACCESS_READ = 0,
    HV_INTERCEPT_ACCESS_WRITE = 1,
    HV_INTERCEPT_ACCESS_EXECUTE = 2,
};

/* HV_X64_VP_EXECUTION_STATE */
union hv_x64_vp_execution_state {
    uint16_t as_uint16;
    struct {
        uint16_t cpl : 2;
        uint16_t cr0_pe : 1;
        uint16_t cr0_am : 1;
        uint16_t efer_lma : 1;
        uint16_t debug_active : 1;
        uint16_t interruption_pending : 1;
        uint16_t vtl : 4;
        uint16_t enclave_mode : 1;
        uint16_t interrupt_shadow : 1;
        uint16_t virtualization_fault_active : 1;
        uint16_t reserved : 2;
    } HV_PACKED;
};

/* HV_X64_INTERCEPT_MESSAGE_HEADER */
struct hv_x64_intercept_message_header {
    uint32_t vp_index;
    uint8_t instruction_length : 4;
    uint8_t cr8 : 4;
    uint8_t intercept_access_type;
    union hv_x64_vp_execution_state execution_state;
    struct hv_x64_segment_register cs_segment;
    uint64_t rip;
    uint64_t rflags;
} HV_PACKED;

/* HV_X64_MEMORY_INTERCEPT_MESSAGE */
struct hv_x64_memory_intercept_message {
    struct hv_x64_intercept_message_header header;
    uint32_t cache_type;
    uint8_t instruction_byte_count;
    uint8_t gva_valid : 1;
    uint8_t gva_gpa_valid : 1;
    uint8_t hypercall_output_pending : 1;
    uint8_t tlb_locked_no_overlay : 1;
    uint8_t reserved0 : 4;
    uint8_t tpr_priority;
    uint8_t reserved1;
    uint64_t guest_virtual_address;
    uint64_t guest_physical_address;
    uint8_t instruction_bytes[16];
} HV_PACKED;

/* HV_X64_IO_PORT_INTERCEPT_MESSAGE */
struct hv_x64_io_port_intercept_message {
    struct hv_x64_intercept_message_header header;
    uint16_t port_number;
    uint8_t access_size : 3; /* bytes: 1, 2 or 4 */
    uint8_t string_op : 1;
    uint8_t rep_prefix : 1;
    uint8_t reserved0 : 3;
    uint8_t instruction_byte_count;
    uint32_t reserved1;
    uint64_t rax;
    uint8_t instruction_bytes[16];
    struct hv_x64_segment_register ds_segment;
    struct hv_x64_segment_register es_segment;
    uint64_t rcx;
    uint64_t rsi;
    uint64_t rdi;
} HV_PACKED;

/* HV_X64_MSR_INTERCEPT_MESSAGE */
struct hv_x64_msr_intercept_message {
    struct hv_x64_intercept_message_header header;
    uint32_t msr_number;
    uint32_t reserved;
    uint64_t rdx;
    uint64_t rax;
} HV_PACKED;

/* HV_X64_CPUID_INTERCEPT_MESSAGE */
struct hv_x64_cpuid_intercept_message {
    struct hv_x64_intercept_message_header header;
    uint64_t rax;
    uint64_t rcx;
    uint64_t rdx;
    uint64_t rbx;
    uint64_t default_result_rax;
    uint64_t default_result_rcx;
    uint64_t default_result_rdx;
    uint64_t default_result_rbx;
} HV_PACKED;

/* HV_X64_EXCEPTION_INTERCEPT_MESSAGE */
struct hv_x64_exception_intercept_message {
    struct hv_x64_intercept_message_header header;
    uint16_t exception_vector;
    uint8_t error_code_valid : 1;
    uint8_t software_exception : 1;
    uint8_t reserved0 : 6;
    uint8_t instruction_byte_count;
    uint32_t error_code;
    uint64_t exception_parameter;
    uint64_t reserved1;
    uint8_t instruction_bytes[16];
    struct hv_x64_segment_register ds_segment;
    struct hv_x64_segment_register ss_segment;
    uint64_t gp_registers[16];
} HV_PACKED;

/* HV_X64_UNRECOVERABLE_EXCEPTION_MESSAGE */
struct hv_x64_unrecoverable_exception_message {
    struct hv_x64_intercept_message_header header;
} HV_PACKED;

/* HV_X64_HALT_MESSAGE */
struct hv_x64_halt_message {
    struct hv_x64_intercept_message_header header;
} HV_PACKED;

/* HV_X64_APIC_EOI_MESSAGE */
struct hv_x64_apic_eoi_message {
    uint32_t vp_index;
    uint32_t interrupt_vector;
} HV_PACKED;

/*
 * Payload of HVMSG_SYNIC_SINT_DELIVERABLE: of the SINTs that were asked about
 * (HV_X64_REGISTER_DELIVERABILITY_NOTIFICATIONS) those whose message slot is free, a bit for each.
 */
struct hv_x64_sint_deliverable_message {
    struct hv_x64_intercept_message_header header;
    uint16_t deliverable_sints;
    uint16_t reserved1;
    uint32_t reserved2;
} HV_PACKED;

/* HV_X64_HYPERCALL_INTERCEPT_MESSAGE */
struct hv_x64_hypercall_intercept_message {
    struct hv_x64_intercept_message_header header;
    uint64_t rax;
    uint64_t rbx;
    uint64_t rcx;
    uint64_t rdx;
    uint64_t r8;
    uint64_t rsi;
    uint64_t rdi;
    struct hv_u128 xmm_registers[6];
    uint32_t isolated : 1;
    uint32_t reserved : 31;
} HV_PACKED;
