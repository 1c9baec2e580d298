/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID leaves of the hypervisor and what their bits say (TLFS "Feature and Interface Discovery").
 */
#pragma once
#pragma GCC system_header /* anonymous structs and flexible arrays are what the layouts are */

#define HV_CPUID_VENDOR_AND_MAX_FUNCTION 0x40000000u
#define HV_CPUID_INTERFACE 0x40000001u
#define HV_CPUID_VERSION 0x40000002u
#define HV_CPUID_FEATURES 0x40000003u
#define HV_CPUID_ENLIGHTENMENT_INFO 0x40000004u
#define HV_CPUID_IMPLEMENTATION_LIMITS 0x40000005u
#define HV_CPUID_HARDWARE_FEATURES 0x40000006u
#define HV_CPUID_CPU_MANAGEMENT_FEATURES 0x40000007u
#define HV_CPUID_NESTED_FEATURES 0x4000000au

/* "Microsoft Hv" in EBX, ECX, EDX: the vendor whose interface is spoken. */
#define HV_CPUID_VENDOR_EBX 0x7263694du
#define HV_CPUID_VENDOR_ECX 0x666f736fu
#define HV_CPUID_VENDOR_EDX 0x76482074u
/* "Hv#1" */
#define HV_CPUID_INTERFACE_SIGNATURE 0x31237648u

/* HV_PARTITION_PRIVILEGE_MASK, bits 31..0 (features EAX). */
#define HV_ACCESS_VP_RUN_TIME_REG (1ull << 0)
#define HV_ACCESS_PARTITION_REFERENCE_COUNTER (1ull << 1)
#define HV_ACCESS_SYNIC_REGS (1ull << 2)
#define HV_ACCESS_SYNTHETIC_TIMER_REGS (1ull << 3)
#define HV_ACCESS_INTR_CTRL_REGS (1ull << 4)
#define HV_ACCESS_HYPERCALL_MSRS (1ull << 5)
#define HV_ACCESS_VP_INDEX (1ull << 6)
#define HV_ACCESS_RESET_REG (1ull << 7)
#define HV_ACCESS_STATS_REG (1ull << 8)
#define HV_ACCESS_PARTITION_REFERENCE_TSC (1ull << 9)
#define HV_ACCESS_GUEST_IDLE_REG (1ull << 10)
#define HV_ACCESS_FREQUENCY_REGS (1ull << 11)
#define HV_ACCESS_TSC_INVARIANT_CONTROLS (1ull << 15)
/* Bits 63..32 (features EBX). */
#define HV_CREATE_PARTITIONS (1ull << 32)
#define HV_ACCESS_PARTITION_ID (1ull << 33)
#define HV_ACCESS_MEMORY_POOL (1ull << 34)
#define HV_POST_MESSAGES (1ull << 36)
#define HV_SIGNAL_EVENTS (1ull << 37)
#define HV_CREATE_PORT (1ull << 38)
#define HV_CONNECT_PORT (1ull << 39)
#define HV_ACCESS_STATS (1ull << 40)
#define HV_DEBUGGING (1ull << 43)
#define HV_CPU_MANAGEMENT (1ull << 44)
#define HV_ACCESS_VP_REGISTERS (1ull << 49)

/* Features EDX. */
#define HV_FEATURE_XMM_HYPERCALL_INPUT (1u << 4)
#define HV_FEATURE_FREQUENCY_REGS (1u << 8)
#define HV_FEATURE_GUEST_CRASH_REGS (1u << 10)
#define HV_FEATURE_EXTENDED_GVA_RANGES (1u << 14)
#define HV_FEATURE_XMM_HYPERCALL_OUTPUT (1u << 15)
#define HV_FEATURE_HYPERCALL_MSR_LOCK (1u << 18)
#define HV_FEATURE_DIRECT_SYNTHETIC_TIMERS (1u << 19)

/* Implementation recommendations (enlightenment info EAX). */
#define HV_RECOMMEND_HYPERCALL_LOCAL_FLUSH (1u << 1)
#define HV_RECOMMEND_HYPERCALL_REMOTE_FLUSH (1u << 2)
#define HV_RECOMMEND_APIC_MSRS (1u << 3)
#define HV_RECOMMEND_RELAXED_TIMING (1u << 5)
#define HV_RECOMMEND_DEPRECATE_AUTO_EOI (1u << 9)
#define HV_RECOMMEND_SYNTHETIC_CLUSTER_IPI (1u << 10)
#define HV_RECOMMEND_EX_PROCESSOR_MASKS (1u << 11)

/* CPU management features EAX. */
#define HV_CPU_MANAGEMENT_START_LOGICAL_PROCESSOR (1u << 0)
#define HV_CPU_MANAGEMENT_CREATE_ROOT_VP (1u << 1)
#define HV_CPU_MANAGEMENT_PERFORMANCE_COUNTER_SYNC (1u << 2)
