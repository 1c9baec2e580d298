// SPDX-License-Identifier: Apache-2.0
#include "abi/cpuid.h"
#include "abi/msr.h"
#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/debug/console.hpp"
#include "hypervisor/partition/msr.hpp"
#include "hypervisor/partition/overlay.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <array>

namespace hypervisor {

namespace {

using Vp = VirtualProcessor;

/// The console is slow and everybody's: a system that crashes without end is heard once a second.
void report_crash(Vp& vp) {
    const std::uint64_t now = read_tsc();
    if (vp.crash_reported_at != 0 && now - vp.crash_reported_at < clock::tsc_frequency()) {
        return;
    }
    vp.crash_reported_at = now;
    log(LogLevel::warning, "partition {} reports a crash of its system: {x} {x} {x} {x} {x}",
        vp.partition().id(), vp.crash_parameters[0], vp.crash_parameters[1], vp.crash_parameters[2],
        vp.crash_parameters[3], vp.crash_parameters[4]);
}

MsrResult write_task_priority(Vp& vp, std::uint32_t /*msr*/, std::uint64_t value) {
    if (value > 0xff) {
        return MsrResult::fault;
    }
    (void)vp.apic().set_tpr(static_cast<std::uint8_t>(value));
    return MsrResult::done;
}

MsrResult write_control(Vp& vp, std::uint32_t /*msr*/, std::uint64_t value) {
    if ((value & ~std::uint64_t{1}) != 0) {
        return MsrResult::fault;
    }
    vp.synic().set_control(value);
    vp.look_at_slots();
    return MsrResult::done;
}

MsrResult write_sint(Vp& vp, std::uint32_t msr, std::uint64_t value) {
    return vp.synic().set_sint(msr - HV_X64_MSR_SINT0, value) ? MsrResult::done : MsrResult::fault;
}

MsrContent read_timer(Vp& vp, std::uint32_t msr) {
    const std::uint32_t offset = msr - HV_X64_MSR_STIMER0_CONFIG;
    return offset % 2 == 0 ? vp.synthetic_timers().config(offset / 2)
                           : vp.synthetic_timers().count(offset / 2);
}

MsrResult write_timer(Vp& vp, std::uint32_t msr, std::uint64_t value) {
    const std::uint32_t offset = msr - HV_X64_MSR_STIMER0_CONFIG;
    const std::uint64_t now = vp.partition().reference_time();
    vp.timers_changed();
    if (offset % 2 == 0) {
        hv_stimer_config config{};
        config.as_uint64 = value;
        const bool may = config.direct_mode == 0 ||
            vp.partition().has_feature(HV_SYNTHETIC_DIRECT_SYNTHETIC_TIMERS);
        return may && vp.synthetic_timers().set_config(offset / 2, value, now) ? MsrResult::done
                                                                               : MsrResult::fault;
    }
    vp.synthetic_timers().set_count(offset / 2, value, now);
    return MsrResult::done;
}

MsrResult write_crash_control(Vp& vp, std::uint32_t /*msr*/, std::uint64_t value) {
    if ((value & HV_CRASH_CTL_CRASH_NOTIFY) != 0) {
        report_crash(vp);
    }
    return MsrResult::done;
}

/// Once the guest has been told, it can't be taken back.
MsrResult write_tsc_invariant_control(Vp& vp, std::uint32_t /*msr*/, std::uint64_t value) {
    Partition& partition = vp.partition();
    if ((value & ~HV_EXPOSE_INVARIANT_TSC) != 0 || value < partition.tsc_invariant_control) {
        return MsrResult::fault;
    }
    if (value != partition.tsc_invariant_control.exchange(value)) {
        partition.cpuid_changed();
    }
    return MsrResult::done;
}

template <auto set>
MsrResult write(Vp& vp, std::uint32_t /*msr*/, std::uint64_t value) {
    return set(vp, value);
}

/// In ascending order. What isn't among them faults.
constexpr MsrRow rows[] = {
    {NAMED(HV_X64_MSR_GUEST_OS_ID), HV_ACCESS_HYPERCALL_MSRS,
        [](Vp& vp, std::uint32_t) -> MsrContent { return vp.partition().guest_os_id; },
        write<overlay::set_guest_os_id>},
    {NAMED(HV_X64_MSR_HYPERCALL), HV_ACCESS_HYPERCALL_MSRS,
        [](Vp& vp, std::uint32_t) -> MsrContent { return vp.partition().hypercall_page; },
        write<overlay::set_hypercall_page>},
    {NAMED(HV_X64_MSR_VP_INDEX), HV_ACCESS_VP_INDEX,
        [](Vp& vp, std::uint32_t) -> MsrContent { return vp.index(); }, no_write},
    {NAMED(HV_X64_MSR_VP_RUNTIME), HV_ACCESS_VP_RUN_TIME_REG,
        [](Vp& vp, std::uint32_t) -> MsrContent { return clock::to_100ns(vp.run_time); }, no_write},
    {NAMED(HV_X64_MSR_TIME_REF_COUNT), HV_ACCESS_PARTITION_REFERENCE_COUNTER,
        [](Vp& vp, std::uint32_t) -> MsrContent { return vp.partition().reference_time(); },
        no_write},
    {NAMED(HV_X64_MSR_REFERENCE_TSC), HV_ACCESS_PARTITION_REFERENCE_TSC,
        [](Vp& vp, std::uint32_t) -> MsrContent { return vp.partition().reference_tsc_page; },
        write<overlay::set_reference_tsc_page>},
    {NAMED(HV_X64_MSR_TSC_FREQUENCY), HV_ACCESS_FREQUENCY_REGS,
        [](Vp&, std::uint32_t) -> MsrContent { return clock::tsc_frequency(); }, no_write},
    {NAMED(HV_X64_MSR_APIC_FREQUENCY), HV_ACCESS_FREQUENCY_REGS,
        [](Vp&, std::uint32_t) -> MsrContent { return clock::virtual_apic_frequency; }, no_write},
    {NAMED(HV_X64_MSR_EOI), HV_ACCESS_INTR_CTRL_REGS, read_zero,
        [](Vp& vp, std::uint32_t, std::uint64_t) {
            vp.end_of_interrupt();
            return MsrResult::done;
        }},
    {NAMED(HV_X64_MSR_ICR), HV_ACCESS_INTR_CTRL_REGS,
        [](Vp& vp, std::uint32_t) -> MsrContent {
            return (std::uint64_t{vp.apic().read(0x310, vp.apic_time())} << 32) |
                vp.apic().read(0x300, vp.apic_time());
        },
        [](Vp& vp, std::uint32_t, std::uint64_t value) {
            vp.apply(vp.apic().write_command(value));
            return MsrResult::done;
        }},
    {NAMED(HV_X64_MSR_TPR), HV_ACCESS_INTR_CTRL_REGS,
        [](Vp& vp, std::uint32_t) -> MsrContent { return vp.apic().tpr(); }, write_task_priority},
    {NAMED(HV_X64_MSR_VP_ASSIST_PAGE), HV_ACCESS_INTR_CTRL_REGS,
        [](Vp& vp, std::uint32_t) -> MsrContent { return vp.vp_assist_page; },
        write<overlay::set_vp_assist_page>},
    {NAMED(HV_X64_MSR_SCONTROL), HV_ACCESS_SYNIC_REGS,
        [](Vp& vp, std::uint32_t) -> MsrContent { return vp.synic().control(); }, write_control},
    {NAMED(HV_X64_MSR_SVERSION), HV_ACCESS_SYNIC_REGS,
        [](Vp&, std::uint32_t) -> MsrContent { return HV_SYNIC_VERSION_1; }, no_write},
    {NAMED(HV_X64_MSR_SIEFP), HV_ACCESS_SYNIC_REGS,
        [](Vp& vp, std::uint32_t) -> MsrContent { return vp.event_flags_page_register; },
        write<overlay::set_event_flags_page>},
    {NAMED(HV_X64_MSR_SIMP), HV_ACCESS_SYNIC_REGS,
        [](Vp& vp, std::uint32_t) -> MsrContent { return vp.message_page_register; },
        write<overlay::set_message_page>},
    {NAMED(HV_X64_MSR_EOM), HV_ACCESS_SYNIC_REGS, read_zero,
        [](Vp& vp, std::uint32_t, std::uint64_t) {
            vp.look_at_slots();
            return MsrResult::done;
        }},
    {NAMED(HV_X64_MSR_SIRBP), HV_ACCESS_SYNIC_REGS,
        [](Vp& vp, std::uint32_t) -> MsrContent { return vp.event_ring_page_register; },
        write<overlay::set_event_ring_page>},
    {NAMED_RANGE(HV_X64_MSR_SINT0, HV_X64_MSR_SINT15), HV_ACCESS_SYNIC_REGS,
        [](Vp& vp, std::uint32_t msr) -> MsrContent {
            return vp.synic().sint(msr - HV_X64_MSR_SINT0);
        },
        write_sint},
    {NAMED_RANGE(HV_X64_MSR_STIMER0_CONFIG, HV_X64_MSR_STIMER3_COUNT),
        HV_ACCESS_SYNTHETIC_TIMER_REGS, read_timer, write_timer},
    {NAMED(HV_X64_MSR_GUEST_IDLE), HV_ACCESS_GUEST_IDLE_REG,
        [](Vp& vp, std::uint32_t) -> MsrContent {
            vp.wait(Vp::WakeUp::any_interrupt);
            return 0;
        },
        no_write},
    {NAMED_RANGE(HV_X64_MSR_CRASH_P0, HV_X64_MSR_CRASH_P4), 0,
        [](Vp& vp, std::uint32_t msr) -> MsrContent {
            return vp.crash_parameters[msr - HV_X64_MSR_CRASH_P0];
        },
        [](Vp& vp, std::uint32_t msr, std::uint64_t value) {
            vp.crash_parameters[msr - HV_X64_MSR_CRASH_P0] = value;
            return MsrResult::done;
        }},
    {NAMED(HV_X64_MSR_CRASH_CTL), 0,
        [](Vp&, std::uint32_t) -> MsrContent { return HV_CRASH_CTL_CRASH_NOTIFY; },
        write_crash_control},
    {NAMED(HV_X64_MSR_TSC_INVARIANT_CONTROL), HV_ACCESS_TSC_INVARIANT_CONTROLS,
        [](Vp& vp, std::uint32_t) -> MsrContent { return vp.partition().tsc_invariant_control; },
        write_tsc_invariant_control},
};

constexpr std::size_t end_of_rows = rows[std::size(rows) - 1].last + 1 - synthetic_msr_first;
constexpr std::uint8_t no_row = 0xff;
static_assert(std::size(rows) < no_row);

/// Where each MSR's row is.
constexpr auto places = [] {
    std::array<std::uint8_t, end_of_rows> result{};
    result.fill(no_row);
    for (const MsrRow& row : rows) {
        for (std::uint32_t msr = row.first; msr <= row.last; ++msr) {
            result[msr - synthetic_msr_first] = static_cast<std::uint8_t>(&row - rows);
        }
    }
    return result;
}();

const MsrRow* find(const Vp& vp, std::uint32_t msr) {
    const std::uint32_t offset = msr - synthetic_msr_first;
    const std::uint8_t place = offset < end_of_rows ? places[offset] : no_row;
    return place != no_row && vp.partition().has_privilege(rows[place].privilege) ? &rows[place]
                                                                                  : nullptr;
}

} // namespace

constinit const std::span<const MsrRow> synthetic_msrs{rows};

MsrResult read_synthetic_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t& value) {
    const MsrRow* const row = find(vp, msr);
    const MsrContent content = row != nullptr ? row->read(vp, msr) : std::nullopt;
    value = content.value_or(0);
    return content ? MsrResult::done : MsrResult::fault;
}

MsrResult write_synthetic_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t value) {
    const MsrRow* const row = find(vp, msr);
    return row != nullptr ? row->write(vp, msr, value) : MsrResult::fault;
}

} // namespace hypervisor
