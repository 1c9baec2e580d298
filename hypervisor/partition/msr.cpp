// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/msr.hpp"

#include "abi/exit_trace.h"
#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/cpu/register_rules.hpp"
#include "hypervisor/debug/console.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"
#include "hypervisor/trace/exit_trace.hpp"

#include <utility>

namespace hypervisor {

namespace {

using Vp = VirtualProcessor;

/// For an access to a register of the local APIC; not asked for where it is of no account.
ApicTime time_for(const Vp& vp, std::uint32_t msr) {
    return VirtualLocalApic::is_timed(msr) ? vp.apic_time() : ApicTime{};
}

template <class Effect>
MsrResult apply(Vp& vp, const Effect& effect) {
    if (effect) {
        vp.apply(*effect);
    }
    return effect ? MsrResult::done : MsrResult::fault;
}

MsrContent read_apic(Vp& vp, std::uint32_t msr) {
    const auto result = vp.apic().read_msr(msr, time_for(vp, msr));
    return result ? MsrContent{*result} : std::nullopt;
}

MsrResult write_apic(Vp& vp, std::uint32_t msr, std::uint64_t value) {
    return apply(vp, vp.apic().write_msr(msr, value, time_for(vp, msr)));
}

MsrResult write_apic_base(Vp& vp, std::uint32_t /*msr*/, std::uint64_t value) {
    return apply(vp, vp.apic().write_base(value));
}

/// Long mode can't be switched on or off under active paging; LMA is the processor's.
MsrResult write_efer(Vp& vp, std::uint32_t /*msr*/, std::uint64_t value) {
    NativeCpu& cpu = vp.cpu();
    const std::uint64_t old = cpu.get(CpuRegister::efer);
    const bool paging = (cpu.get(CpuRegister::cr0) & cr0_pg) != 0;
    if (!register_rules().allow(CpuRegister::efer, value) ||
        (paging && ((value ^ old) & efer_lme) != 0)) {
        return MsrResult::fault;
    }
    cpu.set(CpuRegister::efer, (value & ~efer_lma) | (old & efer_lma));
    return MsrResult::done;
}

MsrResult write_pat(Vp& vp, std::uint32_t /*msr*/, std::uint64_t value) {
    if (!is_valid_pat(value)) {
        return MsrResult::fault;
    }
    vp.cpu().set(CpuRegister::pat, value);
    return MsrResult::done;
}

MsrContent read_mtrr(Vp& vp, std::uint32_t msr) {
    return *vp.mtrrs.find(msr);
}

MsrResult write_mtrr(Vp& vp, std::uint32_t msr, std::uint64_t value) {
    if (!is_valid_mtrr(msr, value, register_rules().physical_bits)) {
        return MsrResult::fault;
    }
    *vp.mtrrs.find(msr) = value;
    return MsrResult::done;
}

MsrContent read_machine(Vp& /*vp*/, std::uint32_t msr) {
    std::uint64_t value = 0;
    return try_read_msr(msr, value) ? MsrContent{value} : std::nullopt;
}

MsrResult write_machine(Vp& /*vp*/, std::uint32_t msr, std::uint64_t value) {
    return try_write_msr(msr, value) ? MsrResult::done : MsrResult::fault;
}

template <CpuRegister which>
MsrContent read(Vp& vp, std::uint32_t /*msr*/) {
    return vp.cpu().get(which);
}
MsrContent read_own(Vp& vp, std::uint32_t msr) {
    return vp.cpu().read_own_msr(msr);
}
MsrResult write_own(Vp& vp, std::uint32_t msr, std::uint64_t value) {
    return vp.cpu().write_own_msr(msr, value) ? MsrResult::done : MsrResult::fault;
}

constexpr MsrRow rows_of_all[] = {
    {msr_x2apic_first, msr_x2apic_last, "x2APIC", 0, read_apic, write_apic},
    {msr_efer, msr_efer, "EFER", 0, read<CpuRegister::efer>, write_efer},
    {msr_apic_base, msr_apic_base, "APIC_BASE", 0,
        [](Vp& vp, std::uint32_t) -> MsrContent { return vp.apic().base(); }, write_apic_base},
    {msr_pat, msr_pat, "PAT", 0, read<CpuRegister::pat>, write_pat},
    // Branch records are not virtualized.
    {msr_debugctl, msr_debugctl, "DebugCtl", 0, read<CpuRegister::debugctl>, ignore_write},
};

/// The first are the hypervisor's own: the root must not see or change them. It is the root that
/// manages power, thermals and errors, so it reads all others from the processor. Writes go through
/// that switch power states; the rest would change what the hypervisor stands on. What CPUID
/// doesn't show faults: a root that believes that it has set the processor's performance would
/// govern nothing.
constexpr MsrRow rows_of_root[] = {
    {msr_vm_hsave_pa, msr_vm_hsave_pa, "VM_HSAVE_PA", 0, no_read, ignore_write},
    {msr_vm_cr, msr_vm_cr, "VM_CR", 0, no_read, ignore_write},
    {msr_tsc, msr_tsc, "TSC", 0, no_read, ignore_write},
    {msr_tsc_adjust, msr_tsc_adjust, "TSC_ADJUST", 0, no_read, ignore_write},
    {msr_p_state_control, msr_p_state_control, "P-state Control", 0, read_machine, write_machine},
    {0xc0010041, 0xc0010041, "FIDVID_CTL", 0, read_machine, no_write},
    {0xc00102b0, 0xc00102b4, "CPPC", 0, read_machine, no_write},
    {NAMED(HV_X64_MSR_EXIT_TRACE_KEY), 0,
        [](Vp&, std::uint32_t) -> MsrContent { return exit_trace::key(); }, ignore_write},
    {0, ~0u, "all others", 0, read_machine, ignore_write},
};

constexpr MsrRow rows_of_child[] = {
    {msr_mtrr_phys_base0, msr_mtrr_phys_mask7, "MTRRphysBase0 – MTRRphysMask7", 0, read_mtrr,
        write_mtrr},
    {msr_mtrr_fix64k, msr_mtrr_fix64k, "MTRRfix64K", 0, read_mtrr, write_mtrr},
    {msr_mtrr_fix16k_80000, msr_mtrr_fix16k_a0000, "MTRRfix16K", 0, read_mtrr, write_mtrr},
    {msr_mtrr_fix4k_c0000, msr_mtrr_fix4k_f8000, "MTRRfix4K", 0, read_mtrr, write_mtrr},
    {msr_mtrr_def_type, msr_mtrr_def_type, "MTRRdefType", 0, read_mtrr, write_mtrr},
    {msr_mtrr_cap, msr_mtrr_cap, "MTRRcap", 0,
        [](Vp&, std::uint32_t) -> MsrContent { return Mtrrs::capabilities; }, no_write},
    {msr_mcg_cap, msr_mcg_cap, "MCG_CAP", 0, read_zero, leave_to_parent},
    {msr_mcg_status, msr_mcg_status, "MCG_STAT", 0, read_zero, ignore_write},
    {msr_microcode_level, msr_microcode_level, "PATCH_LEVEL", 0, read_zero, ignore_write},
    // Configuration of a real AMD processor that its system looks at or sets on every processor of
    // the family: there, but nothing is behind it.
    {0xc0010010, 0xc0010010, "SYSCFG", 0, read_zero, ignore_write},
    {0xc0010015, 0xc0010015, "HWCR", 0, read_zero, ignore_write},
    {0xc001001f, 0xc001001f, "NB_CFG", 0, read_zero, ignore_write},
    {0xc0010055, 0xc0010055, "INT_PENDING", 0, read_zero, ignore_write},
    {0xc0011020, 0xc001102a, "LS_CFG – BU_CFG2", 0, read_zero, ignore_write},
    // Intercepted only with all others.
    {msr_tsc, msr_tsc, "TSC", 0, [](Vp& vp, std::uint32_t) -> MsrContent { return vp.tsc(); },
        leave_to_parent},
    {own_msrs[0].first, own_msrs[0].last, "SYSENTER_CS – SYSENTER_EIP", 0, read_own, write_own},
    {own_msrs[1].first, own_msrs[1].last, "STAR – SFMASK", 0, read_own, write_own},
    {own_msrs[2].first, own_msrs[2].last, "FS_BASE – TSC_AUX", 0, read_own, write_own},
};
static_assert(std::size(own_msrs) == 3);

/// What the row of an MSR does. It is looked for by comparisons in the code, from the first on, and
/// what it does is in line. \return nothing if there is no row
template <const auto& rows, auto access, class... Value>
auto by_row(Vp& vp, std::uint32_t msr, Value... value) {
    std::optional<decltype((rows[0].*access)(vp, msr, value...))> result;
    const auto search = [&]<std::size_t... i>(std::index_sequence<i...> /*all*/) {
        (void)((msr - rows[i].first <= rows[i].last - rows[i].first &&
                   (result.emplace((rows[i].*access)(vp, msr, value...)), true)) ||
            ...);
    };
    search(std::make_index_sequence<std::size(rows)>{});
    return result;
}

} // namespace

MsrResult ignore_write(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t value) {
    log(LogLevel::debug, "partition {} VP {}: write of {x} to MSR {x} ignored", vp.partition().id(),
        vp.index(), value, msr);
    return MsrResult::done;
}

constinit const std::span<const MsrRow> msrs_of_all{rows_of_all};
constinit const std::span<const MsrRow> msrs_of_root{rows_of_root};
constinit const std::span<const MsrRow> msrs_of_child{rows_of_child};

MsrResult partition_read_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t& value) {
    if (msr >= synthetic_msr_first && msr <= synthetic_msr_last) {
        return read_synthetic_msr(vp, msr, value);
    }
    constexpr auto access = &MsrRow::read;
    auto content = by_row<rows_of_all, access>(vp, msr);
    if (!content) {
        content = vp.partition().is_root() ? by_row<rows_of_root, access>(vp, msr)
                                           : by_row<rows_of_child, access>(vp, msr);
    }
    if (content) {
        value = content->value_or(0);
        return *content ? MsrResult::done : MsrResult::fault;
    }
    value = 0;
    log(LogLevel::debug, "partition {} VP {}: read of unknown MSR {x}", vp.partition().id(),
        vp.index(), msr);
    return MsrResult::unimplemented;
}

MsrResult partition_write_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t value) {
    if (msr >= synthetic_msr_first && msr <= synthetic_msr_last) {
        return write_synthetic_msr(vp, msr, value);
    }
    constexpr auto access = &MsrRow::write;
    auto result = by_row<rows_of_all, access>(vp, msr, value);
    if (!result) {
        result = vp.partition().is_root() ? by_row<rows_of_root, access>(vp, msr, value)
                                          : by_row<rows_of_child, access>(vp, msr, value);
    }
    if (result) {
        return *result;
    }
    log(LogLevel::debug, "partition {} VP {}: write of {x} to unknown MSR {x}", vp.partition().id(),
        vp.index(), value, msr);
    return MsrResult::unimplemented;
}

} // namespace hypervisor
