// SPDX-License-Identifier: Apache-2.0
// Architectural register numbers and bits (AMD64 Architecture Programmer's Manual, vol. 2).
#pragma once

#include <cstdint>

namespace hypervisor {

inline constexpr std::uint64_t cr0_pe = 1ull << 0;
inline constexpr std::uint64_t cr0_mp = 1ull << 1;
inline constexpr std::uint64_t cr0_et = 1ull << 4;
inline constexpr std::uint64_t cr0_ne = 1ull << 5;
inline constexpr std::uint64_t cr0_wp = 1ull << 16;
inline constexpr std::uint64_t cr0_am = 1ull << 18;
inline constexpr std::uint64_t cr0_nw = 1ull << 29;
inline constexpr std::uint64_t cr0_cd = 1ull << 30;
inline constexpr std::uint64_t cr0_pg = 1ull << 31;

inline constexpr std::uint64_t cr4_pae = 1ull << 5;
inline constexpr std::uint64_t cr4_osfxsr = 1ull << 9;
inline constexpr std::uint64_t cr4_osxmmexcpt = 1ull << 10;
inline constexpr std::uint64_t cr4_la57 = 1ull << 12;
inline constexpr std::uint64_t cr4_osxsave = 1ull << 18;

inline constexpr std::uint64_t rflags_fixed = 1ull << 1;
inline constexpr std::uint64_t rflags_tf = 1ull << 8;
inline constexpr std::uint64_t rflags_if = 1ull << 9;
inline constexpr std::uint64_t rflags_nt = 1ull << 14;
inline constexpr std::uint64_t rflags_rf = 1ull << 16;
inline constexpr std::uint64_t rflags_vm = 1ull << 17;

inline constexpr std::uint64_t dr6_single_step = 1ull << 14;

inline constexpr std::uint32_t msr_tsc = 0x10;
inline constexpr std::uint32_t msr_apic_base = 0x1b;
inline constexpr std::uint32_t msr_tsc_adjust = 0x3b;
inline constexpr std::uint32_t msr_prediction_command = 0x49;
inline constexpr std::uint32_t msr_microcode_level = 0x8b;
inline constexpr std::uint32_t msr_mtrr_cap = 0xfe;
inline constexpr std::uint32_t msr_sysenter_cs = 0x174;
inline constexpr std::uint32_t msr_sysenter_esp = 0x175;
inline constexpr std::uint32_t msr_sysenter_eip = 0x176;
inline constexpr std::uint32_t msr_mcg_cap = 0x179;
inline constexpr std::uint32_t msr_mcg_status = 0x17a;
inline constexpr std::uint32_t msr_debugctl = 0x1d9;
inline constexpr std::uint32_t msr_mtrr_phys_base0 = 0x200;
inline constexpr std::uint32_t msr_mtrr_phys_mask7 = 0x20f;
inline constexpr std::uint32_t msr_mtrr_fix64k = 0x250;
inline constexpr std::uint32_t msr_mtrr_fix16k_80000 = 0x258;
inline constexpr std::uint32_t msr_mtrr_fix16k_a0000 = 0x259;
inline constexpr std::uint32_t msr_mtrr_fix4k_c0000 = 0x268;
inline constexpr std::uint32_t msr_mtrr_fix4k_f8000 = 0x26f;
inline constexpr std::uint32_t msr_pat = 0x277;
inline constexpr std::uint32_t msr_mtrr_def_type = 0x2ff;
inline constexpr std::uint32_t msr_x2apic_first = 0x800;
inline constexpr std::uint32_t msr_x2apic_last = 0x8ff;
inline constexpr std::uint32_t msr_xss = 0xda0;
inline constexpr std::uint32_t msr_efer = 0xc0000080;
inline constexpr std::uint32_t msr_star = 0xc0000081;
inline constexpr std::uint32_t msr_lstar = 0xc0000082;
inline constexpr std::uint32_t msr_cstar = 0xc0000083;
inline constexpr std::uint32_t msr_sfmask = 0xc0000084;
inline constexpr std::uint32_t msr_fs_base = 0xc0000100;
inline constexpr std::uint32_t msr_gs_base = 0xc0000101;
inline constexpr std::uint32_t msr_kernel_gs_base = 0xc0000102;
inline constexpr std::uint32_t msr_tsc_aux = 0xc0000103;
inline constexpr std::uint32_t msr_p_state_control = 0xc0010062;
inline constexpr std::uint32_t msr_vm_cr = 0xc0010114;
inline constexpr std::uint32_t msr_vm_hsave_pa = 0xc0010117;

inline constexpr std::uint64_t vm_cr_svmdis = 1ull << 4;

inline constexpr std::uint64_t efer_sce = 1ull << 0;
inline constexpr std::uint64_t efer_lme = 1ull << 8;
inline constexpr std::uint64_t efer_lma = 1ull << 10;
inline constexpr std::uint64_t efer_nxe = 1ull << 11;
inline constexpr std::uint64_t efer_svme = 1ull << 12;
inline constexpr std::uint64_t efer_lmsle = 1ull << 13;
inline constexpr std::uint64_t efer_ffxsr = 1ull << 14;
inline constexpr std::uint64_t efer_tce = 1ull << 15;

inline constexpr std::uint64_t pat_reset_value = 0x0007040600070406ull;

inline constexpr std::uint8_t exception_debug = 1;
inline constexpr std::uint8_t exception_nmi = 2;
inline constexpr std::uint8_t exception_breakpoint = 3;
inline constexpr std::uint8_t exception_overflow = 4;
inline constexpr std::uint8_t exception_invalid_opcode = 6;
inline constexpr std::uint8_t exception_double_fault = 8;
inline constexpr std::uint8_t exception_general_protection = 13;
inline constexpr std::uint8_t exception_page_fault = 14;
inline constexpr std::uint8_t exception_alignment_check = 17;
inline constexpr std::uint8_t exception_machine_check = 18;
inline constexpr std::uint8_t exception_last = 31;

} // namespace hypervisor
