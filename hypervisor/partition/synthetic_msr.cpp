// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/synthetic_msr.hpp"

#include "abi/cpuid.h"
#include "abi/msr.h"
#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/debug/console.hpp"
#include "hypervisor/partition/overlay.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

namespace hypervisor {

namespace {

/// The privilege without which a register is not there; 0 for those that all have.
std::uint64_t needed_privilege(std::uint32_t msr) {
    switch (msr) {
    case HV_X64_MSR_GUEST_OS_ID:
    case HV_X64_MSR_HYPERCALL:
        return HV_ACCESS_HYPERCALL_MSRS;
    case HV_X64_MSR_VP_INDEX:
        return HV_ACCESS_VP_INDEX;
    case HV_X64_MSR_VP_RUNTIME:
        return HV_ACCESS_VP_RUN_TIME_REG;
    case HV_X64_MSR_TIME_REF_COUNT:
        return HV_ACCESS_PARTITION_REFERENCE_COUNTER;
    case HV_X64_MSR_REFERENCE_TSC:
        return HV_ACCESS_PARTITION_REFERENCE_TSC;
    case HV_X64_MSR_TSC_FREQUENCY:
    case HV_X64_MSR_APIC_FREQUENCY:
        return HV_ACCESS_FREQUENCY_REGS;
    case HV_X64_MSR_EOI:
    case HV_X64_MSR_ICR:
    case HV_X64_MSR_TPR:
    case HV_X64_MSR_VP_ASSIST_PAGE:
        return HV_ACCESS_INTR_CTRL_REGS;
    case HV_X64_MSR_GUEST_IDLE:
        return HV_ACCESS_GUEST_IDLE_REG;
    default:
        break;
    }
    if (msr >= HV_X64_MSR_SCONTROL && msr <= HV_X64_MSR_SINT15) {
        return HV_ACCESS_SYNIC_REGS;
    }
    if (msr >= HV_X64_MSR_STIMER0_CONFIG && msr <= HV_X64_MSR_STIMER3_COUNT) {
        return HV_ACCESS_SYNTHETIC_TIMER_REGS;
    }
    return 0;
}

std::uint64_t crash_control() {
    return HV_CRASH_CTL_CRASH_NOTIFY;
}

/// The console is slow and everybody's: a system that crashes without end is heard once a second.
void report_crash(VirtualProcessor& vp) {
    const std::uint64_t now = read_tsc();
    if (vp.crash_reported_at != 0 && now - vp.crash_reported_at < clock::tsc_frequency()) {
        return;
    }
    vp.crash_reported_at = now;
    log(LogLevel::warning, "partition {} reports a crash of its system: {x} {x} {x} {x} {x}",
        vp.partition().id(), vp.crash_parameters[0], vp.crash_parameters[1], vp.crash_parameters[2],
        vp.crash_parameters[3], vp.crash_parameters[4]);
}

bool write_timer(VirtualProcessor& vp, std::uint32_t offset, std::uint64_t value) {
    const unsigned timer = offset / 2;
    const std::uint64_t now = vp.partition().reference_time();
    vp.timers_changed();
    if (offset % 2 == 0) {
        return vp.synthetic_timers().set_config(timer, value, now);
    }
    vp.synthetic_timers().set_count(timer, value, now);
    return true;
}

} // namespace

MsrResult read_synthetic_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t& value) {
    Partition& partition = vp.partition();
    if (!partition.has_privilege(needed_privilege(msr))) {
        return MsrResult::fault;
    }
    if (msr >= HV_X64_MSR_SINT0 && msr <= HV_X64_MSR_SINT15) {
        value = vp.synic().sint(msr - HV_X64_MSR_SINT0);
        return MsrResult::done;
    }
    if (msr >= HV_X64_MSR_STIMER0_CONFIG && msr <= HV_X64_MSR_STIMER3_COUNT) {
        const std::uint32_t offset = msr - HV_X64_MSR_STIMER0_CONFIG;
        value = offset % 2 == 0 ? vp.synthetic_timers().config(offset / 2)
                                : vp.synthetic_timers().count(offset / 2);
        return MsrResult::done;
    }
    if (msr >= HV_X64_MSR_CRASH_P0 && msr <= HV_X64_MSR_CRASH_P4) {
        value = vp.crash_parameters[msr - HV_X64_MSR_CRASH_P0];
        return MsrResult::done;
    }
    switch (msr) {
    case HV_X64_MSR_GUEST_OS_ID:
        value = partition.guest_os_id;
        break;
    case HV_X64_MSR_HYPERCALL:
        value = partition.hypercall_page;
        break;
    case HV_X64_MSR_VP_INDEX:
        value = vp.index();
        break;
    case HV_X64_MSR_VP_RUNTIME:
        value = clock::to_100ns(vp.run_time);
        break;
    case HV_X64_MSR_TIME_REF_COUNT:
        value = partition.reference_time();
        break;
    case HV_X64_MSR_REFERENCE_TSC:
        value = partition.reference_tsc_page;
        break;
    case HV_X64_MSR_TSC_FREQUENCY:
        value = clock::tsc_frequency();
        break;
    case HV_X64_MSR_APIC_FREQUENCY:
        value = clock::virtual_apic_frequency;
        break;
    case HV_X64_MSR_EOI:
    case HV_X64_MSR_EOM:
        value = 0;
        break;
    case HV_X64_MSR_ICR:
        value = (std::uint64_t{vp.apic().read(0x310, vp.apic_time())} << 32) |
            vp.apic().read(0x300, vp.apic_time());
        break;
    case HV_X64_MSR_TPR:
        value = vp.apic().tpr();
        break;
    case HV_X64_MSR_VP_ASSIST_PAGE:
        value = vp.vp_assist_page;
        break;
    case HV_X64_MSR_SCONTROL:
        value = vp.synic().control();
        break;
    case HV_X64_MSR_SVERSION:
        value = HV_SYNIC_VERSION_1;
        break;
    case HV_X64_MSR_SIEFP:
        value = vp.event_flags_page_register;
        break;
    case HV_X64_MSR_SIMP:
        value = vp.message_page_register;
        break;
    case HV_X64_MSR_SIRBP:
        value = vp.event_ring_page_register;
        break;
    case HV_X64_MSR_CRASH_CTL:
        value = crash_control();
        break;
    default:
        return MsrResult::fault;
    }
    return MsrResult::done;
}

MsrResult write_synthetic_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t value) {
    Partition& partition = vp.partition();
    if (!partition.has_privilege(needed_privilege(msr))) {
        return MsrResult::fault;
    }
    if (msr >= HV_X64_MSR_SINT0 && msr <= HV_X64_MSR_SINT15) {
        return vp.synic().set_sint(msr - HV_X64_MSR_SINT0, value) ? MsrResult::done
                                                                  : MsrResult::fault;
    }
    if (msr >= HV_X64_MSR_STIMER0_CONFIG && msr <= HV_X64_MSR_STIMER3_COUNT) {
        return write_timer(vp, msr - HV_X64_MSR_STIMER0_CONFIG, value) ? MsrResult::done
                                                                       : MsrResult::fault;
    }
    if (msr >= HV_X64_MSR_CRASH_P0 && msr <= HV_X64_MSR_CRASH_P4) {
        vp.crash_parameters[msr - HV_X64_MSR_CRASH_P0] = value;
        return MsrResult::done;
    }
    switch (msr) {
    case HV_X64_MSR_GUEST_OS_ID:
        return overlay::set_guest_os_id(vp, value);
    case HV_X64_MSR_HYPERCALL:
        return overlay::set_hypercall_page(vp, value);
    case HV_X64_MSR_REFERENCE_TSC:
        return overlay::set_reference_tsc_page(vp, value);
    case HV_X64_MSR_VP_ASSIST_PAGE:
        return overlay::set_vp_assist_page(vp, value);
    case HV_X64_MSR_SIMP:
        return overlay::set_message_page(vp, value);
    case HV_X64_MSR_SIEFP:
        return overlay::set_event_flags_page(vp, value);
    case HV_X64_MSR_SIRBP:
        return overlay::set_event_ring_page(vp, value);
    case HV_X64_MSR_EOI:
        vp.end_of_interrupt();
        break;
    case HV_X64_MSR_ICR:
        vp.apply(vp.apic().write_command(value));
        break;
    case HV_X64_MSR_TPR:
        if (value > 0xff) {
            return MsrResult::fault;
        }
        (void)vp.apic().set_tpr(static_cast<std::uint8_t>(value));
        break;
    case HV_X64_MSR_SCONTROL:
        if ((value & ~std::uint64_t{1}) != 0) {
            return MsrResult::fault;
        }
        vp.synic().set_control(value);
        vp.look_at_slots();
        break;
    case HV_X64_MSR_EOM:
        vp.look_at_slots();
        break;
    case HV_X64_MSR_CRASH_CTL:
        if ((value & HV_CRASH_CTL_CRASH_NOTIFY) != 0) {
            report_crash(vp);
        }
        break;
    default:
        return MsrResult::fault;
    }
    return MsrResult::done;
}

} // namespace hypervisor
