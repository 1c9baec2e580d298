// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/registers.hpp"

#include "abi/msr.h"
#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/extended_state.hpp"
#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/register_rules.hpp"
#include "hypervisor/partition/cpuid.hpp"
#include "hypervisor/partition/msr.hpp"
#include "hypervisor/partition/overlay.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/time.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <cstring>
#include <optional>

namespace hypervisor {

namespace {

constexpr bool is_within(std::uint32_t name, std::uint32_t first, std::uint32_t last) {
    return name >= first && name <= last;
}

/// Registers that the processor interface has under one name.
std::optional<CpuRegister> cpu_register(std::uint32_t name) {
    switch (name) {
    case HV_X64_REGISTER_RIP:
        return CpuRegister::rip;
    case HV_X64_REGISTER_RFLAGS:
        return CpuRegister::rflags;
    case HV_X64_REGISTER_CR0:
    case HV_X64_REGISTER_INTERMEDIATE_CR0:
        return CpuRegister::cr0;
    case HV_X64_REGISTER_CR2:
        return CpuRegister::cr2;
    case HV_X64_REGISTER_CR3:
    case HV_X64_REGISTER_INTERMEDIATE_CR3:
        return CpuRegister::cr3;
    case HV_X64_REGISTER_CR4:
    case HV_X64_REGISTER_INTERMEDIATE_CR4:
        return CpuRegister::cr4;
    case HV_X64_REGISTER_EFER:
        return CpuRegister::efer;
    case HV_X64_REGISTER_XFEM:
        return CpuRegister::xcr0;
    case HV_X64_REGISTER_DR0:
        return CpuRegister::dr0;
    case HV_X64_REGISTER_DR1:
        return CpuRegister::dr1;
    case HV_X64_REGISTER_DR2:
        return CpuRegister::dr2;
    case HV_X64_REGISTER_DR3:
        return CpuRegister::dr3;
    case HV_X64_REGISTER_DR6:
        return CpuRegister::dr6;
    case HV_X64_REGISTER_DR7:
        return CpuRegister::dr7;
    case HV_X64_REGISTER_PAT:
        return CpuRegister::pat;
    case HV_X64_REGISTER_STAR:
        return CpuRegister::star;
    case HV_X64_REGISTER_LSTAR:
        return CpuRegister::lstar;
    case HV_X64_REGISTER_CSTAR:
        return CpuRegister::cstar;
    case HV_X64_REGISTER_SFMASK:
        return CpuRegister::sfmask;
    case HV_X64_REGISTER_KERNEL_GS_BASE:
        return CpuRegister::kernel_gs_base;
    case HV_X64_REGISTER_SYSENTER_CS:
        return CpuRegister::sysenter_cs;
    case HV_X64_REGISTER_SYSENTER_ESP:
        return CpuRegister::sysenter_esp;
    case HV_X64_REGISTER_SYSENTER_EIP:
        return CpuRegister::sysenter_eip;
    case HV_X64_REGISTER_TSC_AUX:
        return CpuRegister::tsc_aux;
    case HV_X64_REGISTER_XSS:
        return CpuRegister::xss;
    case HV_X64_REGISTER_DEBUG_CTL:
        return CpuRegister::debugctl;
    default:
        return std::nullopt;
    }
}

/// Registers that are also MSRs with effects of their own: one way to them is enough.
std::optional<std::uint32_t> msr_of(std::uint32_t name) {
    if (is_within(name, HV_REGISTER_SINT0, HV_REGISTER_SINT15)) {
        return HV_X64_MSR_SINT0 + (name - HV_REGISTER_SINT0);
    }
    if (is_within(name, HV_REGISTER_STIMER0_CONFIG, HV_REGISTER_STIMER3_COUNT)) {
        return HV_X64_MSR_STIMER0_CONFIG + (name - HV_REGISTER_STIMER0_CONFIG);
    }
    if (is_within(name, HV_REGISTER_GUEST_CRASH_P0, HV_REGISTER_GUEST_CRASH_P4)) {
        return HV_X64_MSR_CRASH_P0 + (name - HV_REGISTER_GUEST_CRASH_P0);
    }
    if (is_within(
            name, HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0, HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0 + 7)) {
        return msr_mtrr_phys_base0 + 2 * (name - HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0);
    }
    if (is_within(
            name, HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0, HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0 + 7)) {
        return msr_mtrr_phys_base0 + 1 + 2 * (name - HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0);
    }
    switch (name) {
    case HV_REGISTER_GUEST_CRASH_CTL:
        return HV_X64_MSR_CRASH_CTL;
    case HV_X64_REGISTER_APIC_BASE:
        return msr_apic_base;
    case HV_X64_REGISTER_MSR_MTRR_CAP:
        return msr_mtrr_cap;
    case HV_X64_REGISTER_MSR_MTRR_DEF_TYPE:
        return msr_mtrr_def_type;
    case HV_X64_REGISTER_MSR_MTRR_FIX64K00000:
        return msr_mtrr_fix64k;
    case HV_X64_REGISTER_MSR_MTRR_FIX64K00000 + 1:
        return msr_mtrr_fix16k_80000;
    case HV_X64_REGISTER_MSR_MTRR_FIX64K00000 + 2:
        return msr_mtrr_fix16k_a0000;
    case HV_REGISTER_VP_RUNTIME:
        return HV_X64_MSR_VP_RUNTIME;
    case HV_X64_REGISTER_HYPERCALL:
        return HV_X64_MSR_HYPERCALL;
    case HV_REGISTER_GUEST_OS_ID:
        return HV_X64_MSR_GUEST_OS_ID;
    case HV_REGISTER_VP_INDEX:
        return HV_X64_MSR_VP_INDEX;
    case HV_REGISTER_TIME_REF_COUNT:
        return HV_X64_MSR_TIME_REF_COUNT;
    case HV_REGISTER_VP_ASSIST_PAGE:
        return HV_X64_MSR_VP_ASSIST_PAGE;
    case HV_REGISTER_REFERENCE_TSC:
        return HV_X64_MSR_REFERENCE_TSC;
    case HV_REGISTER_SCONTROL:
        return HV_X64_MSR_SCONTROL;
    case HV_REGISTER_SVERSION:
        return HV_X64_MSR_SVERSION;
    case HV_REGISTER_SIEFP:
        return HV_X64_MSR_SIEFP;
    case HV_REGISTER_SIMP:
        return HV_X64_MSR_SIMP;
    case HV_REGISTER_EOM:
        return HV_X64_MSR_EOM;
    case HV_REGISTER_SIRBP:
        return HV_X64_MSR_SIRBP;
    default:
        break;
    }
    if (is_within(
            name, HV_X64_REGISTER_MSR_MTRR_FIX64K00000 + 3, HV_X64_REGISTER_MSR_MTRR_FIX4KF8000)) {
        return msr_mtrr_fix4k_c0000 + (name - HV_X64_REGISTER_MSR_MTRR_FIX64K00000 - 3);
    }
    return std::nullopt;
}

/// Where a register of the x87 and SSE units stands in the extended state, or null.
std::uint8_t* legacy_state_of(VirtualProcessor& vp, std::uint32_t name, std::size_t& size) {
    constexpr std::size_t st_offset = 32;
    constexpr std::size_t xmm_offset = 160;
    std::uint8_t* const area = vp.cpu().extended_state();
    size = 16;
    if (is_within(name, HV_X64_REGISTER_XMM0, HV_X64_REGISTER_XMM15)) {
        return area + xmm_offset + 16 * (name - HV_X64_REGISTER_XMM0);
    }
    if (is_within(name, HV_X64_REGISTER_FP_MMX0, HV_X64_REGISTER_FP_MMX7)) {
        return area + st_offset + 16 * (name - HV_X64_REGISTER_FP_MMX0);
    }
    // FCW, FSW, FTW, FOP, FIP stand in one piece, FDP, MXCSR and its mask in the next.
    if (name == HV_X64_REGISTER_FP_CONTROL_STATUS) {
        return area;
    }
    if (name == HV_X64_REGISTER_XMM_CONTROL_STATUS) {
        return area + 16;
    }
    return nullptr;
}

/// Whether the processor takes the MXCSR in it.
bool is_valid_xmm_control(const hv_register_value& value) {
    constexpr std::size_t mxcsr_offset = 8;
    std::uint32_t mxcsr;
    std::memcpy(&mxcsr, reinterpret_cast<const std::byte*>(&value) + mxcsr_offset, sizeof mxcsr);
    return is_valid_mxcsr(mxcsr, extended_state::mxcsr_mask());
}

Status set_pending_interruption(VirtualCpu& cpu, const hv_register_value& value) {
    const auto& from = value.pending_interruption;
    if (from.interruption_pending == 0) {
        cpu.set_pending_event(std::nullopt);
        return Status::success;
    }
    const std::uint32_t type = from.interruption_type;
    if (from.interruption_vector > 0xff ||
        (type != HV_X64_PENDING_INTERRUPT && type != HV_X64_PENDING_NMI &&
            type != HV_X64_PENDING_EXCEPTION && type != HV_X64_PENDING_SOFTWARE_INTERRUPT)) {
        return Status::invalid_register_value;
    }
    const CpuEvent event{.type = static_cast<CpuEvent::Type>(type),
        .vector = static_cast<std::uint8_t>(from.interruption_vector),
        .has_error_code = from.deliver_error_code != 0,
        .error_code = from.error_code};
    if (!is_valid_event(event)) {
        return Status::invalid_register_value;
    }
    cpu.set_pending_event(event);
    return Status::success;
}

/// An exception that the parent raises; it doesn't touch the interruption that is under way.
Status set_pending_event(VirtualProcessor& vp, const hv_register_value& value) {
    const hv_x64_pending_exception_event& event = value.pending_exception_event;
    if (event.event_pending != 0 &&
        (event.event_type != HV_X64_PENDING_EVENT_EXCEPTION || event.vector > exception_last ||
            event.vector == exception_nmi)) {
        return Status::invalid_register_value;
    }
    vp.set_pending_exception(event);
    return Status::success;
}

/// Interrupts and NMIs are the hypervisor's to deliver: no parent has one that waits for its
/// moment.
Status set_deliverability_notifications(VirtualProcessor& vp, const hv_register_value& value) {
    hv_x64_deliverability_notifications_register rest = value.deliverability_notifications;
    rest.sints = 0;
    if (rest.as_uint64 != 0) {
        return Status::invalid_register_value;
    }
    vp.synic().notify_deliverable(value.deliverability_notifications.sints);
    vp.notify_event(); // a slot may be free already, and the virtual processor halted
    return Status::success;
}

/// The local APIC's, where topologies have gaps; each is one processor's alone.
Status set_apic_id(VirtualProcessor& vp, std::uint64_t id) {
    if (id > VirtualLocalApic::last_id) {
        return Status::invalid_register_value;
    }
    bool is_free = true;
    vp.partition().for_each_vp([&](VirtualProcessor& other) {
        is_free = is_free && (&other == &vp || other.apic().id() != id);
    });
    if (!is_free) {
        return Status::invalid_register_value;
    }
    vp.apic().set_id(static_cast<std::uint32_t>(id));
    return Status::success;
}

void get_cpuid_register(VirtualProcessor& vp, std::uint32_t leaf, hv_register_value& value) {
    const CpuidResult result = partition_cpuid(vp, leaf, 0);
    value.reg128.low = (std::uint64_t{result.ebx} << 32) | result.eax;
    value.reg128.high = (std::uint64_t{result.edx} << 32) | result.ecx;
}

} // namespace

Status get_register(VirtualProcessor& vp, std::uint32_t name, hv_register_value& value) {
    VirtualCpu& cpu = vp.cpu();
    value.reg128 = {0, 0};
    if (is_within(name, HV_X64_REGISTER_RAX, HV_X64_REGISTER_R15)) {
        value.reg64 = cpu.gpr[name - HV_X64_REGISTER_RAX];
        return Status::success;
    }
    if (const auto r = cpu_register(name); r) {
        value.reg64 = cpu.get(*r);
        return Status::success;
    }
    if (is_within(name, HV_X64_REGISTER_ES, HV_X64_REGISTER_TR)) {
        value.segment = cpu.segment(static_cast<SegmentName>(name - HV_X64_REGISTER_ES));
        return Status::success;
    }
    if (is_within(name, HV_X64_REGISTER_IDTR, HV_X64_REGISTER_GDTR)) {
        value.table = cpu.table(static_cast<TableName>(name - HV_X64_REGISTER_IDTR));
        return Status::success;
    }
    std::size_t size = 0;
    if (const std::uint8_t* const state = legacy_state_of(vp, name, size); state != nullptr) {
        std::memcpy(&value, state, size);
        return Status::success;
    }
    if (const auto msr = msr_of(name); msr) {
        std::uint64_t content = 0;
        if (partition_read_msr(vp, *msr, content) != MsrResult::done) {
            return Status::access_denied;
        }
        value.reg64 = content;
        return Status::success;
    }
    switch (name) {
    case HV_REGISTER_EXPLICIT_SUSPEND:
        value.reg64 = (vp.blocks() & VirtualProcessor::explicit_suspend) != 0;
        break;
    case HV_REGISTER_INTERCEPT_SUSPEND:
        value.reg64 = (vp.blocks() & VirtualProcessor::intercept_suspend) != 0;
        break;
    case HV_REGISTER_DISPATCH_SUSPEND:
        value.reg64 = (vp.blocks() & VirtualProcessor::dispatch_suspend) != 0;
        break;
    case HV_REGISTER_INTERNAL_ACTIVITY_STATE: {
        const bool waits = (vp.blocks() & VirtualProcessor::waiting) != 0;
        hv_internal_activity_register state{};
        state.startup_suspend = vp.waits_for_startup();
        state.halt_suspend = waits && !vp.waits_for_startup();
        value.reg64 = state.as_uint64;
        break;
    }
    case HV_REGISTER_HYPERVISOR_VERSION:
        get_cpuid_register(vp, HV_CPUID_VERSION, value);
        break;
    case HV_REGISTER_PRIVILEGES_AND_FEATURES_INFO:
        get_cpuid_register(vp, HV_CPUID_FEATURES, value);
        break;
    case HV_REGISTER_FEATURES_INFO:
        get_cpuid_register(vp, HV_CPUID_ENLIGHTENMENT_INFO, value);
        break;
    case HV_REGISTER_IMPLEMENTATION_LIMITS_INFO:
        get_cpuid_register(vp, HV_CPUID_IMPLEMENTATION_LIMITS, value);
        break;
    case HV_REGISTER_HARDWARE_FEATURES_INFO:
        get_cpuid_register(vp, HV_CPUID_HARDWARE_FEATURES, value);
        break;
    case HV_REGISTER_CPU_MANAGEMENT_FEATURES_INFO:
        get_cpuid_register(vp, HV_CPUID_CPU_MANAGEMENT_FEATURES, value);
        break;
    case HV_REGISTER_PROCESSOR_CLOCK_FREQUENCY:
        value.reg64 = clock::tsc_frequency();
        break;
    case HV_REGISTER_INTERRUPT_CLOCK_FREQUENCY:
        value.reg64 = clock::virtual_apic_frequency;
        break;
    case HV_REGISTER_PENDING_INTERRUPTION:
        value.pending_interruption = vp.pending_interruption();
        break;
    case HV_REGISTER_INTERRUPT_STATE:
        value.interrupt_state.interrupt_shadow = cpu.interrupt_shadow();
        value.interrupt_state.nmi_masked = cpu.nmi_masked();
        break;
    case HV_X64_REGISTER_DELIVERABILITY_NOTIFICATIONS:
        value.deliverability_notifications.sints = vp.synic().notifications();
        break;
    case HV_REGISTER_PENDING_EVENT0:
        value.pending_exception_event = vp.pending_exception();
        break;
    case HV_REGISTER_PENDING_EVENT1:
    case HV_REGISTER_VSM_VP_STATUS:
        break; // there are none; VTL 0
    case HV_X64_REGISTER_CR8:
    case HV_X64_REGISTER_INTERMEDIATE_CR8:
        value.reg64 = vp.apic().cr8();
        break;
    case HV_X64_REGISTER_TSC:
        value.reg64 = vp.tsc();
        break;
    case HV_X64_REGISTER_TSC_VIRTUAL_OFFSET:
        value.reg64 = vp.tsc() - read_tsc();
        break;
    case HV_X64_REGISTER_INITIAL_APIC_ID:
    case HV_X64_REGISTER_APIC_ID:
        value.reg64 = vp.apic().id();
        break;
    case HV_REGISTER_VP_ROOT_SIGNAL_COUNT:
        value.reg64 = 0; // counts only what the root's own scheduler is told
        break;
    default:
        return Status::invalid_parameter;
    }
    return Status::success;
}

Status set_register(VirtualProcessor& vp, std::uint32_t name, const hv_register_value& value) {
    VirtualCpu& cpu = vp.cpu();
    if (is_within(name, HV_X64_REGISTER_RAX, HV_X64_REGISTER_R15)) {
        cpu.gpr[name - HV_X64_REGISTER_RAX] = value.reg64;
        return Status::success;
    }
    if (const auto r = cpu_register(name); r) {
        if (!register_rules().allow(*r, value.reg64)) {
            return Status::invalid_register_value;
        }
        cpu.set(*r, value.reg64);
        return Status::success;
    }
    if (is_within(name, HV_X64_REGISTER_ES, HV_X64_REGISTER_TR)) {
        if (!is_valid_segment(value.segment)) {
            return Status::invalid_register_value;
        }
        cpu.set_segment(static_cast<SegmentName>(name - HV_X64_REGISTER_ES), value.segment);
        return Status::success;
    }
    if (is_within(name, HV_X64_REGISTER_IDTR, HV_X64_REGISTER_GDTR)) {
        if (!is_valid_table(value.table)) {
            return Status::invalid_register_value;
        }
        cpu.set_table(static_cast<TableName>(name - HV_X64_REGISTER_IDTR), value.table);
        return Status::success;
    }
    std::size_t size = 0;
    if (std::uint8_t* const state = legacy_state_of(vp, name, size); state != nullptr) {
        if (name == HV_X64_REGISTER_XMM_CONTROL_STATUS && !is_valid_xmm_control(value)) {
            return Status::invalid_register_value;
        }
        std::memcpy(state, &value, size);
        extended_state::mark_in_use(
            vp.cpu().extended_state(), extended_state::x87 | extended_state::sse);
        return Status::success;
    }
    if (name == HV_X64_REGISTER_APIC_BASE) {
        return vp.apic().restore_base(value.reg64) ? Status::success
                                                   : Status::invalid_register_value;
    }
    if (name == HV_X64_REGISTER_HYPERCALL) {
        return overlay::restore_hypercall_page(vp, value.reg64) == MsrResult::done
            ? Status::success
            : Status::invalid_register_value;
    }
    if (const auto msr = msr_of(name); msr) {
        return partition_write_msr(vp, *msr, value.reg64) == MsrResult::done
            ? Status::success
            : Status::invalid_register_value;
    }
    switch (name) {
    case HV_REGISTER_PENDING_INTERRUPTION:
        return set_pending_interruption(cpu, value);
    case HV_REGISTER_PENDING_EVENT0:
        return set_pending_event(vp, value);
    case HV_REGISTER_PENDING_EVENT1:
        // Events of kinds that go there don't exist.
        return value.pending_exception_event.event_pending == 0 ? Status::success
                                                                : Status::invalid_register_value;
    case HV_X64_REGISTER_TSC:
        time::set_tsc(vp, value.reg64);
        return Status::success;
    case HV_X64_REGISTER_TSC_VIRTUAL_OFFSET:
        time::set_tsc(vp, value.reg64 + read_tsc());
        return Status::success;
    case HV_X64_REGISTER_DELIVERABILITY_NOTIFICATIONS:
        return set_deliverability_notifications(vp, value);
    case HV_REGISTER_INTERRUPT_STATE:
        cpu.set_interrupt_shadow(value.interrupt_state.interrupt_shadow != 0);
        cpu.set_nmi_masked(value.interrupt_state.nmi_masked != 0);
        return Status::success;
    case HV_X64_REGISTER_CR8:
    case HV_X64_REGISTER_INTERMEDIATE_CR8:
        if (value.reg64 > 15) {
            return Status::invalid_register_value;
        }
        (void)vp.apic().set_cr8(static_cast<std::uint8_t>(value.reg64));
        return Status::success;
    case HV_X64_REGISTER_INITIAL_APIC_ID:
    case HV_X64_REGISTER_APIC_ID:
        return set_apic_id(vp, value.reg64);
    case HV_REGISTER_INTERNAL_ACTIVITY_STATE: {
        hv_internal_activity_register state{};
        state.as_uint64 = value.reg64;
        vp.set_activity(state.startup_suspend != 0, state.halt_suspend != 0);
        return Status::success;
    }
    default:
        return Status::invalid_parameter;
    }
}

} // namespace hypervisor
