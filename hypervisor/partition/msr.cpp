// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/msr.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/intrinsics.hpp"
#include "hypervisor/cpu/register_rules.hpp"
#include "hypervisor/debug/console.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/synthetic_msr.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <algorithm>
#include <optional>

namespace hypervisor {

namespace {

constexpr std::uint32_t synthetic_first = 0x40000000;
constexpr std::uint32_t synthetic_last = 0x400001ff;
// Eight variable ranges, fixed ranges, write combining.
constexpr std::uint64_t mtrr_capabilities = 8 | (1u << 8) | (1u << 10);

/// Long mode can't be switched on or off under active paging; LMA is the processor's.
bool write_efer(VirtualProcessor& vp, std::uint64_t value) {
    VirtualCpu& cpu = vp.cpu();
    const std::uint64_t old = cpu.get(CpuRegister::efer);
    const bool paging = (cpu.get(CpuRegister::cr0) & cr0_pg) != 0;
    if (!register_rules().allow(CpuRegister::efer, value) ||
        (paging && ((value ^ old) & efer_lme) != 0)) {
        return false;
    }
    cpu.set(CpuRegister::efer, (value & ~efer_lma) | (old & efer_lma));
    return true;
}

/// Where a child's MTRR is kept, or null. With nested paging they have no effect; software only has
/// to find what it wrote.
std::uint64_t* mtrr_of(VirtualProcessor& vp, std::uint32_t msr) {
    if (msr == msr_mtrr_def_type) {
        return &vp.mtrr.def_type;
    }
    if (msr >= msr_mtrr_phys_base0 && msr <= msr_mtrr_phys_mask7) {
        return &vp.mtrr.variable[msr - msr_mtrr_phys_base0];
    }
    if (msr == msr_mtrr_fix64k) {
        return &vp.mtrr.fixed[0];
    }
    if (msr == msr_mtrr_fix16k_80000 || msr == msr_mtrr_fix16k_a0000) {
        return &vp.mtrr.fixed[1 + (msr - msr_mtrr_fix16k_80000)];
    }
    if (msr >= msr_mtrr_fix4k_c0000 && msr <= msr_mtrr_fix4k_f8000) {
        return &vp.mtrr.fixed[3 + (msr - msr_mtrr_fix4k_c0000)];
    }
    return nullptr;
}

/// The register of the virtual processor that an architectural MSR is, if it is plainly one.
std::optional<CpuRegister> plain_register(std::uint32_t msr) {
    switch (msr) {
    case msr_efer:
        return CpuRegister::efer;
    case msr_pat:
        return CpuRegister::pat;
    case msr_debugctl:
        return CpuRegister::debugctl;
    default:
        return std::nullopt;
    }
}

/// Configuration of a real AMD processor that its system looks at or sets on every processor of the
/// family: there, but nothing is behind it.
bool is_processor_configuration(std::uint32_t msr) {
    constexpr std::uint32_t syscfg = 0xc0010010;
    constexpr std::uint32_t hwcr = 0xc0010015;
    constexpr std::uint32_t nb_cfg = 0xc001001f;
    constexpr std::uint32_t int_pending = 0xc0010055;
    constexpr std::uint32_t ls_cfg = 0xc0011020;
    constexpr std::uint32_t bu_cfg2 = 0xc001102a;
    return msr == syscfg || msr == hwcr || msr == nb_cfg || msr == int_pending ||
        (msr >= ls_cfg && msr <= bu_cfg2);
}

MsrResult read_child_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t& value) {
    if (const std::uint64_t* const mtrr = mtrr_of(vp, msr); mtrr != nullptr) {
        value = *mtrr;
        return MsrResult::done;
    }
    switch (msr) {
    case msr_mtrr_cap:
        value = mtrr_capabilities;
        return MsrResult::done;
    case msr_mcg_cap:
    case msr_mcg_status:
    case msr_microcode_level:
        value = 0;
        return MsrResult::done;
    default:
        break;
    }
    value = 0;
    if (is_processor_configuration(msr)) {
        return MsrResult::done;
    }
    log(LogLevel::debug, "partition {} VP {}: read of unknown MSR {x}", vp.partition().id(),
        vp.index(), msr);
    return vp.partition().unimplemented_msr_action == HV_UNIMPLEMENTED_MSR_ACTION_FAULT
        ? MsrResult::fault
        : MsrResult::done;
}

MsrResult write_child_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t value) {
    if (std::uint64_t* const mtrr = mtrr_of(vp, msr); mtrr != nullptr) {
        *mtrr = value;
        return MsrResult::done;
    }
    if (msr == msr_mcg_status || msr == msr_microcode_level || is_processor_configuration(msr)) {
        return MsrResult::done;
    }
    log(LogLevel::debug, "partition {} VP {}: write of {x} to unknown MSR {x}", vp.partition().id(),
        vp.index(), value, msr);
    return vp.partition().unimplemented_msr_action == HV_UNIMPLEMENTED_MSR_ACTION_FAULT
        ? MsrResult::fault
        : MsrResult::done;
}

/// The hypervisor's own: the root must not see or change them.
bool is_private(std::uint32_t msr) {
    return msr == msr_vm_hsave_pa || msr == msr_vm_cr || msr == msr_tsc || msr == msr_tsc_adjust;
}

/// Reads of the root go to the processor: it is the root that manages power, thermals and errors.
MsrResult read_root_msr(std::uint32_t msr, std::uint64_t& value) {
    value = 0;
    return !is_private(msr) && try_read_msr(msr, value) ? MsrResult::done : MsrResult::fault;
}

/// Of the root's writes those go through that switch power states; the rest would change what the
/// hypervisor stands on, and is ignored.
MsrResult write_root_msr(std::uint32_t msr, std::uint64_t value) {
    constexpr std::uint32_t p_state_control = 0xc0010062;
    if (msr == p_state_control) {
        return try_write_msr(msr, value) ? MsrResult::done : MsrResult::fault;
    }
    log(LogLevel::debug, "root: write of {x} to MSR {x} ignored", value, msr);
    return MsrResult::done;
}

} // namespace

MsrResult partition_read_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t& value) {
    if (msr >= synthetic_first && msr <= synthetic_last) {
        return read_synthetic_msr(vp, msr, value);
    }
    if (msr >= msr_x2apic_first && msr <= msr_x2apic_last) {
        const auto result = vp.apic().read_msr(msr, vp.apic_time());
        value = result.value_or(0);
        return result ? MsrResult::done : MsrResult::fault;
    }
    if (msr == msr_apic_base) {
        value = vp.apic().base();
        return MsrResult::done;
    }
    if (const auto r = plain_register(msr); r) {
        value = vp.cpu().get(*r);
        return MsrResult::done;
    }
    return vp.partition().is_root() ? read_root_msr(msr, value) : read_child_msr(vp, msr, value);
}

MsrResult partition_write_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t value) {
    if (msr >= synthetic_first && msr <= synthetic_last) {
        return write_synthetic_msr(vp, msr, value);
    }
    if (msr >= msr_x2apic_first && msr <= msr_x2apic_last) {
        const auto effect = vp.apic().write_msr(msr, value, vp.apic_time());
        if (effect) {
            vp.apply(*effect);
        }
        return effect ? MsrResult::done : MsrResult::fault;
    }
    switch (msr) {
    case msr_apic_base: {
        const auto effect = vp.apic().write_base(value);
        if (effect) {
            vp.apply(*effect);
        }
        return effect ? MsrResult::done : MsrResult::fault;
    }
    case msr_efer:
        return write_efer(vp, value) ? MsrResult::done : MsrResult::fault;
    case msr_pat:
        if (!is_valid_pat(value)) {
            return MsrResult::fault;
        }
        vp.cpu().set(CpuRegister::pat, value);
        return MsrResult::done;
    case msr_debugctl:
        return MsrResult::done; // branch records are not virtualized
    default:
        break;
    }
    return vp.partition().is_root() ? write_root_msr(msr, value) : write_child_msr(vp, msr, value);
}

} // namespace hypervisor
