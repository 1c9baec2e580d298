// SPDX-License-Identifier: Apache-2.0
// The virtual machine control block (AMD64 APM vol. 2, appendix B and 15.5 to 15.25).
#pragma once

#include <cstddef>
#include <cstdint>

namespace hypervisor::svm {

struct VmcbSegment {
    std::uint16_t selector;
    std::uint16_t attributes;
    std::uint32_t limit;
    std::uint64_t base;
};

struct Vmcb {
    // Control area.
    std::uint32_t intercept_cr;
    std::uint32_t intercept_dr;
    std::uint32_t intercept_exceptions;
    std::uint32_t intercept_misc1;
    std::uint32_t intercept_misc2;
    std::uint32_t intercept_misc3;
    std::uint8_t reserved1[36];
    std::uint16_t pause_threshold;
    std::uint16_t pause_count;
    std::uint64_t io_permissions;
    std::uint64_t msr_permissions;
    std::uint64_t tsc_offset;
    std::uint32_t asid;
    std::uint8_t tlb_control;
    std::uint8_t reserved2[3];
    std::uint64_t virtual_interrupt;
    std::uint64_t interrupt_shadow;
    std::uint64_t exit_code;
    std::uint64_t exit_info1;
    std::uint64_t exit_info2;
    std::uint64_t exit_interrupt_info;
    std::uint64_t nested_control;
    std::uint8_t reserved3[16];
    std::uint64_t event_injection;
    std::uint64_t nested_cr3;
    std::uint64_t lbr_control;
    std::uint32_t clean_bits;
    std::uint32_t reserved4;
    std::uint64_t next_rip;
    std::uint8_t instruction_byte_count;
    std::uint8_t instruction_bytes[15];
    std::uint8_t reserved5[800];

    // State save area, at 0x400.
    VmcbSegment es;
    VmcbSegment cs;
    VmcbSegment ss;
    VmcbSegment ds;
    VmcbSegment fs;
    VmcbSegment gs;
    VmcbSegment gdtr;
    VmcbSegment ldtr;
    VmcbSegment idtr;
    VmcbSegment tr;
    std::uint8_t reserved6[43];
    std::uint8_t cpl;
    std::uint32_t reserved7;
    std::uint64_t efer;
    std::uint8_t reserved8[112];
    std::uint64_t cr4;
    std::uint64_t cr3;
    std::uint64_t cr0;
    std::uint64_t dr7;
    std::uint64_t dr6;
    std::uint64_t rflags;
    std::uint64_t rip;
    std::uint8_t reserved9[88];
    std::uint64_t rsp;
    std::uint8_t reserved10[24];
    std::uint64_t rax;
    std::uint64_t star;
    std::uint64_t lstar;
    std::uint64_t cstar;
    std::uint64_t sfmask;
    std::uint64_t kernel_gs_base;
    std::uint64_t sysenter_cs;
    std::uint64_t sysenter_esp;
    std::uint64_t sysenter_eip;
    std::uint64_t cr2;
    std::uint8_t reserved11[32];
    std::uint64_t pat;
    std::uint64_t debugctl;
    std::uint8_t reserved12[2448 - 8];
};
static_assert(offsetof(Vmcb, exit_code) == 0x70);
static_assert(offsetof(Vmcb, event_injection) == 0xa8);
static_assert(offsetof(Vmcb, next_rip) == 0xc8);
static_assert(offsetof(Vmcb, es) == 0x400);
static_assert(offsetof(Vmcb, cpl) == 0x400 + 0xcb);
static_assert(offsetof(Vmcb, cr4) == 0x400 + 0x148);
static_assert(offsetof(Vmcb, rsp) == 0x400 + 0x1d8);
static_assert(offsetof(Vmcb, rax) == 0x400 + 0x1f8);
static_assert(offsetof(Vmcb, cr2) == 0x400 + 0x240);
static_assert(offsetof(Vmcb, pat) == 0x400 + 0x268);

inline constexpr std::uint32_t intercept_intr = 1u << 0;
inline constexpr std::uint32_t intercept_nmi = 1u << 1;
inline constexpr std::uint32_t intercept_smi = 1u << 2;
inline constexpr std::uint32_t intercept_init = 1u << 3;
inline constexpr std::uint32_t intercept_vintr = 1u << 4;
inline constexpr std::uint32_t intercept_rdpmc = 1u << 15;
inline constexpr std::uint32_t intercept_cpuid = 1u << 18;
inline constexpr std::uint32_t intercept_iret = 1u << 20;
inline constexpr std::uint32_t intercept_invd = 1u << 22;
inline constexpr std::uint32_t intercept_hlt = 1u << 24;
inline constexpr std::uint32_t intercept_invlpga = 1u << 26;
inline constexpr std::uint32_t intercept_io = 1u << 27;
inline constexpr std::uint32_t intercept_msr = 1u << 28;
inline constexpr std::uint32_t intercept_shutdown = 1u << 31;

inline constexpr std::uint32_t intercept_vmrun = 1u << 0;
inline constexpr std::uint32_t intercept_vmmcall = 1u << 1;
inline constexpr std::uint32_t intercept_vmload = 1u << 2;
inline constexpr std::uint32_t intercept_vmsave = 1u << 3;
inline constexpr std::uint32_t intercept_stgi = 1u << 4;
inline constexpr std::uint32_t intercept_clgi = 1u << 5;
inline constexpr std::uint32_t intercept_skinit = 1u << 6;
inline constexpr std::uint32_t intercept_wbinvd = 1u << 9;
inline constexpr std::uint32_t intercept_monitor = 1u << 10;
inline constexpr std::uint32_t intercept_mwait = 1u << 11;
inline constexpr std::uint32_t intercept_xsetbv = 1u << 13;
inline constexpr std::uint32_t intercept_rdpru = 1u << 14;

inline constexpr std::uint32_t intercept_invlpgb = 1u << 0;
inline constexpr std::uint32_t intercept_mcommit = 1u << 3;
inline constexpr std::uint32_t intercept_tlbsync = 1u << 4;

enum ExitCode : std::uint64_t {
    exit_exception_first = 0x40,
    exit_exception_last = 0x5f,
    exit_intr = 0x60,
    exit_nmi = 0x61,
    exit_smi = 0x62,
    exit_init = 0x63,
    exit_vintr = 0x64,
    exit_rdpmc = 0x6f,
    exit_cpuid = 0x72,
    exit_iret = 0x74,
    exit_invd = 0x76,
    exit_hlt = 0x78,
    exit_invlpga = 0x7a,
    exit_io = 0x7b,
    exit_msr = 0x7c,
    exit_shutdown = 0x7f,
    exit_vmrun = 0x80,
    exit_vmmcall = 0x81,
    exit_vmload = 0x82,
    exit_vmsave = 0x83,
    exit_stgi = 0x84,
    exit_clgi = 0x85,
    exit_skinit = 0x86,
    exit_wbinvd = 0x89,
    exit_monitor = 0x8a,
    exit_mwait = 0x8b,
    exit_mwait_conditional = 0x8c,
    exit_xsetbv = 0x8d,
    exit_rdpru = 0x8e,
    exit_invlpgb = 0xa0,
    exit_mcommit = 0xa3,
    exit_tlbsync = 0xa4,
    exit_nested_page_fault = 0x400,
    exit_invalid = ~0ull,
};

inline constexpr std::uint64_t virtual_tpr_mask = 0xf;
inline constexpr std::uint64_t virtual_irq = 1ull << 8;
inline constexpr std::uint64_t virtual_priority_highest = 0xfull << 16;
inline constexpr std::uint64_t virtual_ignore_tpr = 1ull << 20;
inline constexpr std::uint64_t virtual_masking = 1ull << 24;
inline constexpr unsigned virtual_vector_shift = 32;
inline constexpr std::uint64_t virtual_vector_mask = 0xffull << virtual_vector_shift;

inline constexpr std::uint8_t tlb_keep = 0;
inline constexpr std::uint8_t tlb_flush_all = 1;

inline constexpr std::uint64_t event_valid = 1ull << 31;
inline constexpr std::uint64_t event_has_error_code = 1ull << 11;
inline constexpr std::uint64_t nested_paging = 1;

inline constexpr std::uint64_t fault_write = 1ull << 1;
inline constexpr std::uint64_t fault_execute = 1ull << 4;

} // namespace hypervisor::svm
