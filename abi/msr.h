/* SPDX-License-Identifier: Apache-2.0 */
/* Synthetic model-specific registers (TLFS "Register Address Mappings", "MSRs"). */
#pragma once
#pragma GCC system_header /* anonymous structs and flexible arrays are what the layouts are */

#define HV_X64_MSR_GUEST_OS_ID 0x40000000u
#define HV_X64_MSR_HYPERCALL 0x40000001u
#define HV_X64_MSR_VP_INDEX 0x40000002u
#define HV_X64_MSR_RESET 0x40000003u
#define HV_X64_MSR_VP_RUNTIME 0x40000010u
#define HV_X64_MSR_TIME_REF_COUNT 0x40000020u
#define HV_X64_MSR_REFERENCE_TSC 0x40000021u
#define HV_X64_MSR_TSC_FREQUENCY 0x40000022u
#define HV_X64_MSR_APIC_FREQUENCY 0x40000023u
#define HV_X64_MSR_EOI 0x40000070u
#define HV_X64_MSR_ICR 0x40000071u
#define HV_X64_MSR_TPR 0x40000072u
#define HV_X64_MSR_VP_ASSIST_PAGE 0x40000073u
#define HV_X64_MSR_SCONTROL 0x40000080u
#define HV_X64_MSR_SVERSION 0x40000081u
#define HV_X64_MSR_SIEFP 0x40000082u
#define HV_X64_MSR_SIMP 0x40000083u
#define HV_X64_MSR_EOM 0x40000084u
#define HV_X64_MSR_SIRBP 0x40000085u
#define HV_X64_MSR_SINT0 0x40000090u
#define HV_X64_MSR_SINT15 0x4000009fu
#define HV_X64_MSR_STIMER0_CONFIG 0x400000b0u
#define HV_X64_MSR_STIMER3_COUNT 0x400000b7u
#define HV_X64_MSR_GUEST_IDLE 0x400000f0u
#define HV_X64_MSR_CRASH_P0 0x40000100u
#define HV_X64_MSR_CRASH_P4 0x40000104u
#define HV_X64_MSR_CRASH_CTL 0x40000105u
#define HV_X64_MSR_TSC_INVARIANT_CONTROL 0x40000118u

/* Layout shared by the registers that hold a page: bit 0 enables, bits 63..12 are the page. */
#define HV_MSR_PAGE_ENABLE 1ull
#define HV_MSR_PAGE_ADDRESS_MASK (~0xfffull)
/* HV_X64_MSR_HYPERCALL: once set, the register cannot change before the partition is reset. */
#define HV_MSR_HYPERCALL_LOCKED 2ull

/* HV_X64_MSR_TSC_INVARIANT_CONTROL: CPUID says that the time-stamp counter is invariant. */
#define HV_EXPOSE_INVARIANT_TSC 1ull

#define HV_CRASH_CTL_CRASH_NOTIFY (1ull << 63)
#define HV_CRASH_CTL_CRASH_MESSAGE (1ull << 62)
