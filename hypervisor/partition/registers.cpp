// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/registers.hpp"

#include "abi/msr.h"
#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/extended_state.hpp"
#include "hypervisor/cpu/register_rules.hpp"
#include "hypervisor/partition/cpuid.hpp"
#include "hypervisor/partition/msr.hpp"
#include "hypervisor/partition/overlay.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/time.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <algorithm>
#include <cstring>

namespace hypervisor {

namespace {

using Vp = VirtualProcessor;
using Value = hv_register_value;
using Way = RegisterWay;

constexpr std::uint32_t at(CpuRegister which) {
    return static_cast<std::uint32_t>(which);
}

/// Each can be read and set, but for what the MSRs refuse. The most frequent are first.
constexpr PlacedRegister placed[] = {
    {NAMED_RANGE(HV_X64_REGISTER_RAX, HV_X64_REGISTER_R15), Way::general, 0},
    {NAMED_RANGE(HV_X64_REGISTER_RIP, HV_X64_REGISTER_RFLAGS), Way::cpu, at(CpuRegister::rip)},
    {NAMED_RANGE(HV_X64_REGISTER_ES, HV_X64_REGISTER_TR), Way::segment, 0},
    {NAMED_RANGE(HV_X64_REGISTER_IDTR, HV_X64_REGISTER_GDTR), Way::table, 0},
    {NAMED(HV_X64_REGISTER_CR0), Way::cpu, at(CpuRegister::cr0)},
    {NAMED(HV_X64_REGISTER_INTERMEDIATE_CR0), Way::cpu, at(CpuRegister::cr0)},
    {NAMED_RANGE(HV_X64_REGISTER_CR2, HV_X64_REGISTER_CR4), Way::cpu, at(CpuRegister::cr2)},
    {NAMED_RANGE(HV_X64_REGISTER_INTERMEDIATE_CR3, HV_X64_REGISTER_INTERMEDIATE_CR4), Way::cpu,
        at(CpuRegister::cr3)},
    {NAMED(HV_X64_REGISTER_XFEM), Way::cpu, at(CpuRegister::xcr0)},
    {NAMED(HV_X64_REGISTER_EFER), Way::cpu, at(CpuRegister::efer)},
    {NAMED_RANGE(HV_X64_REGISTER_DR0, HV_X64_REGISTER_DR3), Way::cpu, at(CpuRegister::dr0)},
    {NAMED_RANGE(HV_X64_REGISTER_DR6, HV_X64_REGISTER_DR7), Way::cpu, at(CpuRegister::dr6)},
    {NAMED(HV_X64_REGISTER_KERNEL_GS_BASE), Way::cpu, at(CpuRegister::kernel_gs_base)},
    {NAMED(HV_X64_REGISTER_PAT), Way::cpu, at(CpuRegister::pat)},
    {NAMED(HV_X64_REGISTER_SYSENTER_CS), Way::cpu, at(CpuRegister::sysenter_cs)},
    {NAMED(HV_X64_REGISTER_SYSENTER_EIP), Way::cpu, at(CpuRegister::sysenter_eip)},
    {NAMED(HV_X64_REGISTER_SYSENTER_ESP), Way::cpu, at(CpuRegister::sysenter_esp)},
    {NAMED_RANGE(HV_X64_REGISTER_STAR, HV_X64_REGISTER_SFMASK), Way::cpu, at(CpuRegister::star)},
    {NAMED(HV_X64_REGISTER_TSC_AUX), Way::cpu, at(CpuRegister::tsc_aux)},
    {NAMED(HV_X64_REGISTER_DEBUG_CTL), Way::cpu, at(CpuRegister::debugctl)},
    {NAMED(HV_X64_REGISTER_XSS), Way::cpu, at(CpuRegister::xss)},
    // FCW, FSW, FTW, FOP and FIP are in one piece; FDP, MXCSR and its mask in the next.
    {NAMED(HV_X64_REGISTER_FP_CONTROL_STATUS), Way::extended, 0},
    {NAMED(HV_X64_REGISTER_XMM_CONTROL_STATUS), Way::extended, 16},
    {NAMED_RANGE(HV_X64_REGISTER_FP_MMX0, HV_X64_REGISTER_FP_MMX7), Way::extended, 32},
    {NAMED_RANGE(HV_X64_REGISTER_XMM0, HV_X64_REGISTER_XMM15), Way::extended, 160},
    {NAMED(HV_X64_REGISTER_APIC_BASE), Way::msr, msr_apic_base},
    {NAMED(HV_X64_REGISTER_MSR_MTRR_CAP), Way::msr, msr_mtrr_cap},
    {NAMED(HV_X64_REGISTER_MSR_MTRR_DEF_TYPE), Way::msr, msr_mtrr_def_type},
    {NAMED_RANGE(HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0, HV_X64_REGISTER_MSR_MTRR_PHYS_BASE7),
        Way::pair, msr_mtrr_phys_base0},
    {NAMED_RANGE(HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0, HV_X64_REGISTER_MSR_MTRR_PHYS_MASK7),
        Way::pair, msr_mtrr_phys_base0 + 1},
    {NAMED(HV_X64_REGISTER_MSR_MTRR_FIX64K00000), Way::msr, msr_mtrr_fix64k},
    {NAMED_RANGE(HV_X64_REGISTER_MSR_MTRR_FIX16K80000, HV_X64_REGISTER_MSR_MTRR_FIX16KA0000),
        Way::msr, msr_mtrr_fix16k_80000},
    {NAMED_RANGE(HV_X64_REGISTER_MSR_MTRR_FIX4KC0000, HV_X64_REGISTER_MSR_MTRR_FIX4KF8000),
        Way::msr, msr_mtrr_fix4k_c0000},
    {NAMED(HV_REGISTER_VP_RUNTIME), Way::msr, HV_X64_MSR_VP_RUNTIME},
    {NAMED(HV_X64_REGISTER_HYPERCALL), Way::msr, HV_X64_MSR_HYPERCALL},
    {NAMED(HV_REGISTER_GUEST_OS_ID), Way::msr, HV_X64_MSR_GUEST_OS_ID},
    {NAMED(HV_REGISTER_VP_INDEX), Way::msr, HV_X64_MSR_VP_INDEX},
    {NAMED(HV_REGISTER_TIME_REF_COUNT), Way::msr, HV_X64_MSR_TIME_REF_COUNT},
    {NAMED(HV_REGISTER_VP_ASSIST_PAGE), Way::msr, HV_X64_MSR_VP_ASSIST_PAGE},
    {NAMED(HV_REGISTER_REFERENCE_TSC), Way::msr, HV_X64_MSR_REFERENCE_TSC},
    {NAMED_RANGE(HV_REGISTER_SINT0, HV_REGISTER_SINT15), Way::msr, HV_X64_MSR_SINT0},
    {NAMED(HV_REGISTER_SCONTROL), Way::msr, HV_X64_MSR_SCONTROL},
    {NAMED(HV_REGISTER_SVERSION), Way::msr, HV_X64_MSR_SVERSION},
    {NAMED(HV_REGISTER_SIEFP), Way::msr, HV_X64_MSR_SIEFP},
    {NAMED(HV_REGISTER_SIMP), Way::msr, HV_X64_MSR_SIMP},
    {NAMED(HV_REGISTER_EOM), Way::msr, HV_X64_MSR_EOM},
    {NAMED(HV_REGISTER_SIRBP), Way::msr, HV_X64_MSR_SIRBP},
    {NAMED_RANGE(HV_REGISTER_STIMER0_CONFIG, HV_REGISTER_STIMER3_COUNT), Way::msr,
        HV_X64_MSR_STIMER0_CONFIG},
    {NAMED_RANGE(HV_REGISTER_GUEST_CRASH_P0, HV_REGISTER_GUEST_CRASH_P4), Way::msr,
        HV_X64_MSR_CRASH_P0},
    {NAMED(HV_REGISTER_GUEST_CRASH_CTL), Way::msr, HV_X64_MSR_CRASH_CTL},
};

struct Place {
    Way way;
    std::uint32_t at;
};

std::optional<Place> place_of(std::uint32_t name) {
    for (const PlacedRegister& row : placed) {
        if (name >= row.first && name <= row.last) {
            const std::uint32_t step = row.way == Way::extended ? 16 : row.way == Way::pair ? 2 : 1;
            return Place{row.way, row.place + (name - row.first) * step};
        }
    }
    return std::nullopt;
}

Status status_of(MsrResult written) {
    return written == MsrResult::done     ? Status::success
        : written == MsrResult::no_memory ? Status::insufficient_memory
                                          : Status::invalid_register_value;
}

Status read_placed(Vp& vp, Place place, Value& value) {
    NativeCpu& cpu = vp.cpu();
    switch (place.way) {
    case Way::general:
        value.reg64 = cpu.gpr[place.at];
        break;
    case Way::cpu:
        value.reg64 = cpu.get(static_cast<CpuRegister>(place.at));
        break;
    case Way::segment:
        value.segment = cpu.segment(static_cast<SegmentName>(place.at));
        break;
    case Way::table:
        value.table = cpu.table(static_cast<TableName>(place.at));
        break;
    case Way::extended:
        std::memcpy(&value, cpu.extended_state() + place.at, sizeof value.reg128);
        break;
    case Way::msr:
    case Way::pair: {
        std::uint64_t content = 0;
        if (partition_read_msr(vp, place.at, content) != MsrResult::done) {
            return Status::access_denied;
        }
        value.reg64 = content;
        break;
    }
    }
    return Status::success;
}

Status write_extended(NativeCpu& cpu, std::uint32_t offset, const Value& value) {
    constexpr std::uint32_t xmm_control_status = 16;
    const auto mxcsr = static_cast<std::uint32_t>(value.reg128.high);
    if (offset == xmm_control_status && !is_valid_mxcsr(mxcsr, extended_state::mxcsr_mask())) {
        return Status::invalid_register_value;
    }
    std::memcpy(cpu.extended_state() + offset, &value, sizeof value.reg128);
    extended_state::mark_in_use(cpu.extended_state(), extended_state::x87 | extended_state::sse);
    return Status::success;
}

/// Some take from a parent what they don't take from the guest.
Status write_msr(Vp& vp, std::uint32_t msr, std::uint64_t value) {
    switch (msr) {
    case msr_apic_base:
        return vp.apic().restore_base(value) ? Status::success : Status::invalid_register_value;
    case HV_X64_MSR_HYPERCALL:
        return status_of(overlay::restore_hypercall_page(vp, value));
    default:
        return status_of(partition_write_msr(vp, msr, value));
    }
}

Status write_placed(Vp& vp, Place place, const Value& value) {
    NativeCpu& cpu = vp.cpu();
    bool is_valid = true;
    switch (place.way) {
    case Way::general:
        cpu.gpr[place.at] = value.reg64;
        break;
    case Way::cpu: {
        const auto which = static_cast<CpuRegister>(place.at);
        is_valid = register_rules().allow(which, value.reg64);
        if (is_valid) {
            cpu.set(which, value.reg64);
        }
        break;
    }
    case Way::segment:
        is_valid = is_valid_segment(value.segment);
        if (is_valid) {
            cpu.set_segment(static_cast<SegmentName>(place.at), value.segment);
        }
        break;
    case Way::table:
        is_valid = is_valid_table(value.table);
        if (is_valid) {
            cpu.set_table(static_cast<TableName>(place.at), value.table);
        }
        break;
    case Way::extended:
        return write_extended(cpu, place.at, value);
    case Way::msr:
    case Way::pair:
        return write_msr(vp, place.at, value.reg64);
    }
    return is_valid ? Status::success : Status::invalid_register_value;
}

void read_activity(Vp& vp, Value& value) {
    const bool waits = (vp.blocks() & Vp::waiting) != 0;
    hv_internal_activity_register state{};
    state.startup_suspend = vp.waits_for_startup();
    state.halt_suspend = waits && !vp.waits_for_startup() && !vp.is_idle();
    state.idle_suspend = waits && !vp.waits_for_startup() && vp.is_idle();
    value.reg64 = state.as_uint64;
}

Status write_activity(Vp& vp, const Value& value) {
    hv_internal_activity_register state{};
    state.as_uint64 = value.reg64;
    vp.set_activity(state.startup_suspend != 0, state.halt_suspend != 0, state.idle_suspend != 0);
    return Status::success;
}

Status write_pending_interruption(Vp& vp, const Value& value) {
    NativeCpu& cpu = vp.cpu();
    const auto& from = value.pending_interruption;
    if (from.interruption_pending == 0) {
        cpu.set_pending_event(std::nullopt);
        return Status::success;
    }
    const std::uint32_t type = from.interruption_type;
    constexpr std::uint32_t last_type = HV_X64_PENDING_SOFTWARE_EXCEPTION;
    constexpr std::uint32_t no_type = 1;
    if (from.interruption_vector > 0xff || type > last_type || type == no_type) {
        return Status::invalid_register_value;
    }
    const CpuEvent event{.type = static_cast<CpuEvent::Type>(type),
        .vector = static_cast<std::uint8_t>(from.interruption_vector),
        .has_error_code = from.deliver_error_code != 0,
        .error_code = from.error_code,
        .instruction_length = static_cast<std::uint8_t>(from.instruction_length)};
    if (!is_valid_event(event)) {
        return Status::invalid_register_value;
    }
    cpu.set_pending_event(event);
    return Status::success;
}

/// An exception that the parent raises; it doesn't touch the interruption that is under way.
Status write_pending_event(Vp& vp, const Value& value) {
    const hv_x64_pending_exception_event& event = value.pending_exception_event;
    if (event.event_pending != 0 &&
        (event.event_type != HV_X64_PENDING_EVENT_EXCEPTION || event.vector > exception_last ||
            event.vector == exception_nmi)) {
        return Status::invalid_register_value;
    }
    vp.set_pending_exception(event);
    return Status::success;
}

Status write_no_event(Vp& /*vp*/, const Value& value) {
    return value.pending_exception_event.event_pending == 0 ? Status::success
                                                            : Status::invalid_register_value;
}

void read_interrupt_state(Vp& vp, Value& value) {
    value.interrupt_state.interrupt_shadow = vp.cpu().interrupt_shadow();
    value.interrupt_state.nmi_masked = vp.cpu().nmi_masked();
}

Status write_interrupt_state(Vp& vp, const Value& value) {
    vp.cpu().set_interrupt_shadow(value.interrupt_state.interrupt_shadow != 0);
    vp.cpu().set_nmi_masked(value.interrupt_state.nmi_masked != 0);
    return Status::success;
}

/// Interrupts and NMIs are the hypervisor's to deliver: no parent has one that waits for its
/// moment.
Status write_notifications(Vp& vp, const Value& value) {
    hv_x64_deliverability_notifications_register rest = value.deliverability_notifications;
    rest.sints = 0;
    if (rest.as_uint64 != 0) {
        return Status::invalid_register_value;
    }
    vp.synic().notify_deliverable(value.deliverability_notifications.sints);
    vp.notify_event(); // a slot may be free already, and the virtual processor halted
    return Status::success;
}

Status write_cr8(Vp& vp, const Value& value) {
    if (value.reg64 > 15) {
        return Status::invalid_register_value;
    }
    (void)vp.apic().set_cr8(static_cast<std::uint8_t>(value.reg64));
    return Status::success;
}

/// The local APIC's, where topologies have gaps; each is one processor's alone.
Status write_apic_id(Vp& vp, const Value& value) {
    const std::uint64_t id = value.reg64;
    if (id > VirtualLocalApic::last_id) {
        return Status::invalid_register_value;
    }
    bool is_free = true;
    vp.partition().for_each_vp(
        [&](Vp& other) { is_free = is_free && (&other == &vp || other.apic().id() != id); });
    if (!is_free) {
        return Status::invalid_register_value;
    }
    vp.apic().set_id(static_cast<std::uint32_t>(id));
    return Status::success;
}

template <std::uint32_t leaf>
void read_cpuid(Vp& vp, Value& value) {
    const CpuidResult result = partition_cpuid(vp, leaf, 0);
    value.reg128.low = (std::uint64_t{result.ebx} << 32) | result.eax;
    value.reg128.high = (std::uint64_t{result.edx} << 32) | result.ecx;
}
template <RunBlocks::Block block>
void read_block(Vp& vp, Value& value) {
    value.reg64 = (vp.blocks() & block) != 0;
}
void read_nothing(Vp& /*vp*/, Value& /*value*/) {}
void read_cr8(Vp& vp, Value& value) {
    value.reg64 = vp.apic().cr8();
}
void read_apic_id(Vp& vp, Value& value) {
    value.reg64 = vp.apic().id();
}
/// HvCallSetVpRegisters does it, for a virtual processor that may run.
Status write_elsewhere(Vp& /*vp*/, const Value& /*value*/) {
    return Status::success;
}

constexpr OwnRegister own[] = {
    {NAMED(HV_REGISTER_EXPLICIT_SUSPEND), read_block<Vp::explicit_suspend>, write_elsewhere},
    {NAMED(HV_REGISTER_INTERCEPT_SUSPEND), read_block<Vp::intercept_suspend>, write_elsewhere},
    {NAMED(HV_REGISTER_DISPATCH_SUSPEND), read_block<Vp::dispatch_suspend>, write_elsewhere},
    {NAMED(HV_REGISTER_INTERNAL_ACTIVITY_STATE), read_activity, write_activity},
    {NAMED(HV_REGISTER_HYPERVISOR_VERSION), read_cpuid<HV_CPUID_VERSION>, nullptr},
    {NAMED(HV_REGISTER_PRIVILEGES_AND_FEATURES_INFO), read_cpuid<HV_CPUID_FEATURES>, nullptr},
    {NAMED(HV_REGISTER_FEATURES_INFO), read_cpuid<HV_CPUID_ENLIGHTENMENT_INFO>, nullptr},
    {NAMED(HV_REGISTER_IMPLEMENTATION_LIMITS_INFO), read_cpuid<HV_CPUID_IMPLEMENTATION_LIMITS>,
        nullptr},
    {NAMED(HV_REGISTER_HARDWARE_FEATURES_INFO), read_cpuid<HV_CPUID_HARDWARE_FEATURES>, nullptr},
    {NAMED(HV_REGISTER_CPU_MANAGEMENT_FEATURES_INFO), read_cpuid<HV_CPUID_CPU_MANAGEMENT_FEATURES>,
        nullptr},
    {NAMED(HV_REGISTER_PROCESSOR_CLOCK_FREQUENCY),
        [](Vp&, Value& value) { value.reg64 = clock::tsc_frequency(); }, nullptr},
    {NAMED(HV_REGISTER_INTERRUPT_CLOCK_FREQUENCY),
        [](Vp&, Value& value) { value.reg64 = clock::virtual_apic_frequency; }, nullptr},
    {NAMED(HV_REGISTER_PENDING_INTERRUPTION),
        [](Vp& vp, Value& value) { value.pending_interruption = vp.pending_interruption(); },
        write_pending_interruption},
    {NAMED(HV_REGISTER_INTERRUPT_STATE), read_interrupt_state, write_interrupt_state},
    {NAMED(HV_REGISTER_PENDING_EVENT0),
        [](Vp& vp, Value& value) { value.pending_exception_event = vp.pending_exception(); },
        write_pending_event},
    // Events of kinds that go there don't exist.
    {NAMED(HV_REGISTER_PENDING_EVENT1), read_nothing, write_no_event},
    {NAMED(HV_X64_REGISTER_DELIVERABILITY_NOTIFICATIONS),
        [](Vp& vp, Value& value) {
            value.deliverability_notifications.sints = vp.synic().notifications();
        },
        write_notifications},
    {NAMED(HV_X64_REGISTER_CR8), read_cr8, write_cr8},
    {NAMED(HV_X64_REGISTER_INTERMEDIATE_CR8), read_cr8, write_cr8},
    {NAMED(HV_X64_REGISTER_TSC), [](Vp& vp, Value& value) { value.reg64 = vp.tsc(); },
        [](Vp& vp, const Value& value) {
            time::set_tsc(vp, value.reg64);
            return Status::success;
        }},
    {NAMED(HV_X64_REGISTER_TSC_VIRTUAL_OFFSET),
        [](Vp& vp, Value& value) { value.reg64 = vp.tsc() - read_tsc(); },
        [](Vp& vp, const Value& value) {
            time::set_tsc(vp, value.reg64 + read_tsc());
            return Status::success;
        }},
    {NAMED(HV_X64_REGISTER_INITIAL_APIC_ID), read_apic_id, write_apic_id},
    {NAMED(HV_X64_REGISTER_APIC_ID), read_apic_id, write_apic_id},
    {NAMED(HV_REGISTER_VP_ROOT_SIGNAL_COUNT),
        [](Vp& vp, Value& value) { value.reg64 = vp.root_signals(); }, nullptr},
    {NAMED(HV_REGISTER_VSM_VP_STATUS), read_nothing, nullptr}, // VTL 0
};

} // namespace

constinit const std::span<const PlacedRegister> placed_registers{placed};
constinit const std::span<const OwnRegister> own_registers{own};

Status get_register(VirtualProcessor& vp, std::uint32_t name, hv_register_value& value) {
    value.reg128 = {0, 0};
    if (const auto place = place_of(name)) {
        return read_placed(vp, *place, value);
    }
    const auto* const row = std::ranges::find(own, name, &OwnRegister::first);
    if (row == std::end(own)) {
        return Status::invalid_parameter;
    }
    row->read(vp, value);
    return Status::success;
}

Status set_register(VirtualProcessor& vp, std::uint32_t name, const hv_register_value& value) {
    if (const auto place = place_of(name)) {
        return write_placed(vp, *place, value);
    }
    const auto* const row = std::ranges::find(own, name, &OwnRegister::first);
    return row != std::end(own) && row->write != nullptr ? row->write(vp, value)
                                                         : Status::invalid_parameter;
}

} // namespace hypervisor
