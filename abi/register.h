/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual processor registers: names, values and the register page (TLFS "HV_REGISTER_NAME",
 * "HV_REGISTER_VALUE"; the register page as in upstream Linux, include/hyperv/hvhdk.h).
 */
#pragma once
#pragma GCC system_header /* anonymous structs and flexible arrays are what the layouts are */

#include "abi/types.h"

enum hv_register_name {
    HV_REGISTER_EXPLICIT_SUSPEND = 0x00000000,
    HV_REGISTER_INTERCEPT_SUSPEND = 0x00000001,
    HV_REGISTER_DISPATCH_SUSPEND = 0x00000003,
    HV_REGISTER_INTERNAL_ACTIVITY_STATE = 0x00000004,
    HV_REGISTER_HYPERVISOR_VERSION = 0x00000100,
    HV_REGISTER_PRIVILEGES_AND_FEATURES_INFO = 0x00000200,
    HV_REGISTER_FEATURES_INFO = 0x00000201,
    HV_REGISTER_IMPLEMENTATION_LIMITS_INFO = 0x00000202,
    HV_REGISTER_HARDWARE_FEATURES_INFO = 0x00000203,
    HV_REGISTER_CPU_MANAGEMENT_FEATURES_INFO = 0x00000204,
    HV_REGISTER_GUEST_CRASH_P0 = 0x00000210,
    HV_REGISTER_GUEST_CRASH_P4 = 0x00000214,
    HV_REGISTER_GUEST_CRASH_CTL = 0x00000215,
    HV_REGISTER_PROCESSOR_CLOCK_FREQUENCY = 0x00000240,
    HV_REGISTER_INTERRUPT_CLOCK_FREQUENCY = 0x00000241,
    HV_REGISTER_PENDING_INTERRUPTION = 0x00010002,
    HV_REGISTER_INTERRUPT_STATE = 0x00010003,
    HV_REGISTER_PENDING_EVENT0 = 0x00010004,
    HV_REGISTER_PENDING_EVENT1 = 0x00010005,
    HV_X64_REGISTER_DELIVERABILITY_NOTIFICATIONS = 0x00010006,

    HV_X64_REGISTER_RAX = 0x00020000,
    HV_X64_REGISTER_RCX = 0x00020001,
    HV_X64_REGISTER_RDX = 0x00020002,
    HV_X64_REGISTER_RBX = 0x00020003,
    HV_X64_REGISTER_RSP = 0x00020004,
    HV_X64_REGISTER_RBP = 0x00020005,
    HV_X64_REGISTER_RSI = 0x00020006,
    HV_X64_REGISTER_RDI = 0x00020007,
    HV_X64_REGISTER_R8 = 0x00020008,
    HV_X64_REGISTER_R9 = 0x00020009,
    HV_X64_REGISTER_R10 = 0x0002000a,
    HV_X64_REGISTER_R11 = 0x0002000b,
    HV_X64_REGISTER_R12 = 0x0002000c,
    HV_X64_REGISTER_R13 = 0x0002000d,
    HV_X64_REGISTER_R14 = 0x0002000e,
    HV_X64_REGISTER_R15 = 0x0002000f,
    HV_X64_REGISTER_RIP = 0x00020010,
    HV_X64_REGISTER_RFLAGS = 0x00020011,

    HV_X64_REGISTER_XMM0 = 0x00030000,
    HV_X64_REGISTER_XMM15 = 0x0003000f,
    HV_X64_REGISTER_FP_MMX0 = 0x00030010,
    HV_X64_REGISTER_FP_MMX7 = 0x00030017,
    HV_X64_REGISTER_FP_CONTROL_STATUS = 0x00030018,
    HV_X64_REGISTER_XMM_CONTROL_STATUS = 0x00030019,

    HV_X64_REGISTER_CR0 = 0x00040000,
    HV_X64_REGISTER_CR2 = 0x00040001,
    HV_X64_REGISTER_CR3 = 0x00040002,
    HV_X64_REGISTER_CR4 = 0x00040003,
    HV_X64_REGISTER_CR8 = 0x00040004,
    HV_X64_REGISTER_XFEM = 0x00040005,

    /* What the control registers are while an intercept is handled; the same for VTL 0. */
    HV_X64_REGISTER_INTERMEDIATE_CR0 = 0x00041000,
    HV_X64_REGISTER_INTERMEDIATE_CR3 = 0x00041002,
    HV_X64_REGISTER_INTERMEDIATE_CR4 = 0x00041003,
    HV_X64_REGISTER_INTERMEDIATE_CR8 = 0x00041004,

    HV_X64_REGISTER_DR0 = 0x00050000,
    HV_X64_REGISTER_DR1 = 0x00050001,
    HV_X64_REGISTER_DR2 = 0x00050002,
    HV_X64_REGISTER_DR3 = 0x00050003,
    HV_X64_REGISTER_DR6 = 0x00050004,
    HV_X64_REGISTER_DR7 = 0x00050005,

    HV_X64_REGISTER_ES = 0x00060000,
    HV_X64_REGISTER_CS = 0x00060001,
    HV_X64_REGISTER_SS = 0x00060002,
    HV_X64_REGISTER_DS = 0x00060003,
    HV_X64_REGISTER_FS = 0x00060004,
    HV_X64_REGISTER_GS = 0x00060005,
    HV_X64_REGISTER_LDTR = 0x00060006,
    HV_X64_REGISTER_TR = 0x00060007,
    HV_X64_REGISTER_IDTR = 0x00070000,
    HV_X64_REGISTER_GDTR = 0x00070001,

    HV_X64_REGISTER_TSC = 0x00080000,
    HV_X64_REGISTER_EFER = 0x00080001,
    HV_X64_REGISTER_KERNEL_GS_BASE = 0x00080002,
    HV_X64_REGISTER_APIC_BASE = 0x00080003,
    HV_X64_REGISTER_PAT = 0x00080004,
    HV_X64_REGISTER_SYSENTER_CS = 0x00080005,
    HV_X64_REGISTER_SYSENTER_EIP = 0x00080006,
    HV_X64_REGISTER_SYSENTER_ESP = 0x00080007,
    HV_X64_REGISTER_STAR = 0x00080008,
    HV_X64_REGISTER_LSTAR = 0x00080009,
    HV_X64_REGISTER_CSTAR = 0x0008000a,
    HV_X64_REGISTER_SFMASK = 0x0008000b,
    HV_X64_REGISTER_INITIAL_APIC_ID = 0x0008000c,
    HV_X64_REGISTER_MSR_MTRR_CAP = 0x0008000d,
    HV_X64_REGISTER_MSR_MTRR_DEF_TYPE = 0x0008000e,
    HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0 = 0x00080010,
    HV_X64_REGISTER_MSR_MTRR_PHYS_BASE7 = 0x00080017,
    HV_X64_REGISTER_MSR_MTRR_PHYS_BASEF = 0x0008001f,
    HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0 = 0x00080040,
    HV_X64_REGISTER_MSR_MTRR_PHYS_MASK7 = 0x00080047,
    HV_X64_REGISTER_MSR_MTRR_PHYS_MASKF = 0x0008004f,
    HV_X64_REGISTER_MSR_MTRR_FIX64K00000 = 0x00080070,
    HV_X64_REGISTER_MSR_MTRR_FIX16K80000 = 0x00080071,
    HV_X64_REGISTER_MSR_MTRR_FIX16KA0000 = 0x00080072,
    HV_X64_REGISTER_MSR_MTRR_FIX4KC0000 = 0x00080073,
    HV_X64_REGISTER_MSR_MTRR_FIX4KF8000 = 0x0008007a,
    HV_X64_REGISTER_TSC_AUX = 0x0008007b,
    HV_X64_REGISTER_DEBUG_CTL = 0x0008007d,
    HV_X64_REGISTER_TSC_VIRTUAL_OFFSET = 0x00080087,
    HV_X64_REGISTER_XSS = 0x0008008b,
    HV_X64_REGISTER_TSC_DEADLINE = 0x00080095,
    HV_X64_REGISTER_TSC_ADJUST = 0x00080096,

    HV_X64_REGISTER_APIC_ID = 0x00084802,

    HV_REGISTER_VP_RUNTIME = 0x00090000,
    HV_X64_REGISTER_HYPERCALL = 0x00090001,
    HV_REGISTER_GUEST_OS_ID = 0x00090002,
    HV_REGISTER_VP_INDEX = 0x00090003,
    HV_REGISTER_TIME_REF_COUNT = 0x00090004,
    HV_REGISTER_VP_ASSIST_PAGE = 0x00090013,
    HV_REGISTER_VP_ROOT_SIGNAL_COUNT = 0x00090014,
    HV_REGISTER_REFERENCE_TSC = 0x00090017,
    HV_X64_REGISTER_REG_PAGE = 0x0009001c,

    HV_REGISTER_SINT0 = 0x000a0000,
    HV_REGISTER_SINT15 = 0x000a000f,
    HV_REGISTER_SCONTROL = 0x000a0010,
    HV_REGISTER_SVERSION = 0x000a0011,
    HV_REGISTER_SIEFP = 0x000a0012,
    HV_REGISTER_SIMP = 0x000a0013,
    HV_REGISTER_EOM = 0x000a0014,
    HV_REGISTER_SIRBP = 0x000a0015,

    HV_REGISTER_STIMER0_CONFIG = 0x000b0000,
    HV_REGISTER_STIMER3_COUNT = 0x000b0007,

    HV_REGISTER_VSM_VP_STATUS = 0x000d0003,
};

/* HV_X64_SEGMENT_REGISTER */
struct hv_x64_segment_register {
    uint64_t base;
    uint32_t limit;
    uint16_t selector;
    union {
        struct {
            uint16_t segment_type : 4;
            uint16_t non_system_segment : 1;
            uint16_t descriptor_privilege_level : 2;
            uint16_t present : 1;
            uint16_t reserved : 4;
            uint16_t available : 1;
            uint16_t long_mode : 1;
            uint16_t default_size : 1;
            uint16_t granularity : 1;
        } HV_PACKED;
        uint16_t attributes;
    };
} HV_PACKED;

/* HV_X64_TABLE_REGISTER */
struct hv_x64_table_register {
    uint16_t pad[3];
    uint16_t limit;
    uint64_t base;
} HV_PACKED;

/* HV_X64_PENDING_INTERRUPTION_REGISTER */
enum hv_x64_pending_interruption_type {
    HV_X64_PENDING_INTERRUPT = 0,
    HV_X64_PENDING_NMI = 2,
    HV_X64_PENDING_EXCEPTION = 3,
    HV_X64_PENDING_SOFTWARE_INTERRUPT = 4,
    HV_X64_PENDING_PRIVILEGED_SOFTWARE_EXCEPTION = 5, /* of INT1 */
    HV_X64_PENDING_SOFTWARE_EXCEPTION = 6,            /* of INT3 and INTO */
};

union hv_x64_pending_interruption_register {
    uint64_t as_uint64;
    struct {
        uint32_t interruption_pending : 1;
        uint32_t interruption_type : 3;
        uint32_t deliver_error_code : 1;
        uint32_t instruction_length : 4;
        uint32_t nested_event : 1;
        uint32_t reserved : 6;
        uint32_t interruption_vector : 16;
        uint32_t error_code;
    } HV_PACKED;
};

/* HV_X64_PENDING_EXCEPTION_EVENT, of HV_REGISTER_PENDING_EVENT0 */
#define HV_X64_PENDING_EVENT_EXCEPTION 0

union hv_x64_pending_exception_event {
    uint64_t as_uint64[2];
    struct {
        uint32_t event_pending : 1;
        uint32_t event_type : 3;
        uint32_t reserved0 : 4;
        uint32_t deliver_error_code : 1;
        uint32_t reserved1 : 7;
        uint32_t vector : 16;
        uint32_t error_code;
        uint64_t exception_parameter;
    } HV_PACKED;
};

/* HV_X64_INTERRUPT_STATE_REGISTER */
union hv_x64_interrupt_state_register {
    uint64_t as_uint64;
    struct {
        uint64_t interrupt_shadow : 1;
        uint64_t nmi_masked : 1;
        uint64_t reserved : 62;
    } HV_PACKED;
};

/*
 * HV_X64_REGISTER_DELIVERABILITY_NOTIFICATIONS: what the parent wants to be told of, once. A bit is
 * cleared with the message that answers it (layout: Windows Hypervisor Platform,
 * WHV_DELIVERABILITY_NOTIFICATIONS_REGISTER).
 */
union hv_x64_deliverability_notifications_register {
    uint64_t as_uint64;
    struct {
        uint64_t nmi_notification : 1;
        uint64_t interrupt_notification : 1;
        uint64_t interrupt_priority : 4;
        uint64_t reserved : 42;
        uint64_t sints : 16;
    } HV_PACKED;
};

/* HV_X64_FP_CONTROL_STATUS_REGISTER */
struct hv_x64_fp_control_status_register {
    uint16_t fp_control;
    uint16_t fp_status;
    uint8_t fp_tag;
    uint8_t reserved;
    uint16_t last_fp_op;
    uint64_t last_fp_rip;
} HV_PACKED;

/* HV_X64_XMM_CONTROL_STATUS_REGISTER */
struct hv_x64_xmm_control_status_register {
    uint64_t last_fp_rdp;
    uint32_t xmm_status_control;
    uint32_t xmm_status_control_mask;
} HV_PACKED;

/* HV_X64_REGISTER_INTERNAL_ACTIVITY_STATE: why a VP that is not suspended runs no instructions. */
union hv_internal_activity_register {
    uint64_t as_uint64;
    struct {
        uint64_t startup_suspend : 1;
        uint64_t halt_suspend : 1;
        uint64_t idle_suspend : 1;
        uint64_t reserved : 61;
    } HV_PACKED;
};

/* HV_REGISTER_VALUE */
union hv_register_value {
    struct hv_u128 reg128;
    uint64_t reg64;
    uint32_t reg32;
    uint16_t reg16;
    uint8_t reg8;
    struct hv_x64_segment_register segment;
    struct hv_x64_table_register table;
    union hv_x64_interrupt_state_register interrupt_state;
    union hv_x64_pending_interruption_register pending_interruption;
    union hv_x64_pending_exception_event pending_exception_event;
    union hv_x64_deliverability_notifications_register deliverability_notifications;
    struct hv_x64_fp_control_status_register fp_control_status;
    struct hv_x64_xmm_control_status_register xmm_control_status;
};

/* HV_REGISTER_ASSOC */
struct hv_register_assoc {
    uint32_t name;
    uint32_t reserved1;
    uint64_t reserved2;
    union hv_register_value value;
} HV_PACKED;

/* HvCallGetVpRegisters, HvCallSetVpRegisters */
struct hv_input_get_vp_registers {
    uint64_t partition_id;
    uint32_t vp_index;
    struct hv_input_vtl input_vtl;
    uint8_t reserved[3];
    uint32_t names[];
} HV_PACKED;

struct hv_input_set_vp_registers {
    uint64_t partition_id;
    uint32_t vp_index;
    struct hv_input_vtl input_vtl;
    uint8_t reserved[3];
    struct hv_register_assoc elements[];
} HV_PACKED;

/*
 * The register page: a page shared between hypervisor and parent that holds the registers which an
 * intercept most often needs. Valid while the VP is suspended; classes marked in `dirty` are loaded
 * when it goes on.
 */
#define HV_X64_REGISTER_CLASS_GENERAL 0
#define HV_X64_REGISTER_CLASS_IP 1
#define HV_X64_REGISTER_CLASS_XMM 2
#define HV_X64_REGISTER_CLASS_SEGMENT 3
#define HV_X64_REGISTER_CLASS_FLAGS 4

#define HV_VP_REGISTER_PAGE_VERSION_1 1u

struct hv_vp_register_page {
    uint16_t version;
    uint8_t is_valid;
    uint8_t reserved0;
    uint32_t dirty;
    uint64_t gp_registers[16]; /* RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15 */
    uint64_t rip;
    uint64_t rflags;
    uint64_t reserved1;
    struct hv_u128 xmm_registers[6];
    struct hv_x64_segment_register segment_registers[6]; /* ES, CS, SS, DS, FS, GS */
    uint64_t cr0;
    uint64_t cr3;
    uint64_t cr4;
    uint64_t cr8;
    uint64_t efer;
    uint64_t dr7;
    union hv_x64_pending_interruption_register pending_interruption;
    union hv_x64_interrupt_state_register interrupt_state;
    uint64_t instruction_emulation_hints;
    uint64_t xfem;
    uint8_t reserved2[0x100];
    uint64_t interrupt_vectors; /* how many in the first byte, at most seven; then each */
} HV_PACKED;

#define HV_VP_REGISTER_PAGE_MAX_VECTOR_COUNT 7u
