// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/cpuid.hpp"

#include "abi/cpuid.h"
#include "hypervisor/cpu/extended_state.hpp"
#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/partition/cpuid_policy.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <algorithm>
#include <bit>
#include <span>

namespace hypervisor {

namespace {

// Leaf 1: what depends on the virtual processor.
constexpr std::uint32_t ecx1_x2apic = 1u << 21;
constexpr std::uint32_t ecx1_xsave = 1u << 26;
constexpr std::uint32_t ecx1_osxsave = 1u << 27;
constexpr std::uint32_t ecx1_hypervisor = 1u << 31;
constexpr std::uint32_t edx1_htt = 1u << 28;
constexpr std::uint32_t edx1_apic = 1u << 9;

constexpr std::uint32_t leaf_topology = 0xb;
constexpr std::uint32_t leaf_states = 0xd;
constexpr std::uint32_t eax_d_1_compacted = 1u << 1;
constexpr std::uint32_t leaf_topology_v2 = 0x1f;
constexpr std::uint32_t leaf_power = 0x80000007;
constexpr std::uint32_t edx_power_tsc_invariant = 1u << 8;
constexpr std::uint32_t leaf_processor_topology = 0x8000001e;
constexpr std::uint32_t leaf_topology_amd = 0x80000026;

// The build that upstream's driver was validated with (drivers/hv/mshv_root_main.c).
constexpr std::uint32_t build_number = 27744;
constexpr std::uint32_t major_version = 10;

/// A bit that says what a partition may count on: what its parent has granted it.
struct Offer {
    std::uint32_t bit;
    std::uint64_t privilege;
    std::uint64_t synthetic_feature = 0;
};
constexpr Offer features[] = {{HV_FEATURE_FREQUENCY_REGS, HV_ACCESS_FREQUENCY_REGS},
    {HV_FEATURE_EXTENDED_GVA_RANGES, HV_ACCESS_HYPERCALL_MSRS, HV_SYNTHETIC_TB_FLUSH_HYPERCALLS},
    {HV_FEATURE_HYPERCALL_MSR_LOCK, HV_ACCESS_HYPERCALL_MSRS},
    {HV_FEATURE_DIRECT_SYNTHETIC_TIMERS, HV_ACCESS_SYNTHETIC_TIMER_REGS,
        HV_SYNTHETIC_DIRECT_SYNTHETIC_TIMERS}};
constexpr Offer recommendations[] = {{HV_RECOMMEND_HYPERCALL_REMOTE_FLUSH, HV_ACCESS_HYPERCALL_MSRS,
                                         HV_SYNTHETIC_TB_FLUSH_HYPERCALLS},
    {HV_RECOMMEND_APIC_MSRS, HV_ACCESS_INTR_CTRL_REGS}, {HV_RECOMMEND_RELAXED_TIMING, 0},
    {HV_RECOMMEND_DEPRECATE_AUTO_EOI, 0},
    {HV_RECOMMEND_SYNTHETIC_CLUSTER_IPI, HV_ACCESS_HYPERCALL_MSRS, HV_SYNTHETIC_CLUSTER_IPI},
    {HV_RECOMMEND_EX_PROCESSOR_MASKS, HV_ACCESS_HYPERCALL_MSRS,
        HV_SYNTHETIC_EXTENDED_PROCESSOR_MASKS}};

std::uint32_t granted(const Partition& partition, std::span<const Offer> offers) {
    std::uint32_t bits = 0;
    for (const Offer& offer : offers) {
        const bool has = partition.has_privilege(offer.privilege) &&
            partition.has_feature(offer.synthetic_feature);
        bits |= has ? offer.bit : 0;
    }
    return bits;
}

CpuidResult hypervisor_leaf(const VirtualProcessor& vp, std::uint32_t leaf) {
    constexpr std::uint32_t spins_before_notice = 0x1000; // a fraction of a turn, in any case
    const Partition& partition = vp.partition();
    if (!partition.has_feature(HV_SYNTHETIC_HYPERVISOR_PRESENT | HV_SYNTHETIC_HV1)) {
        return {};
    }
    switch (leaf) {
    case HV_CPUID_VENDOR_AND_MAX_FUNCTION:
        return {HV_CPUID_CPU_MANAGEMENT_FEATURES, HV_CPUID_VENDOR_EBX, HV_CPUID_VENDOR_ECX,
            HV_CPUID_VENDOR_EDX};
    case HV_CPUID_INTERFACE:
        return {HV_CPUID_INTERFACE_SIGNATURE, 0, 0, 0};
    case HV_CPUID_VERSION:
        return {build_number, major_version << 16, 0, 0};
    case HV_CPUID_FEATURES:
        return {static_cast<std::uint32_t>(partition.privileges()),
            static_cast<std::uint32_t>(partition.privileges() >> 32), 0,
            granted(partition, features) | (partition.is_root() ? 0 : HV_FEATURE_GUEST_CRASH_REGS)};
    case HV_CPUID_ENLIGHTENMENT_INFO:
        return {granted(partition, recommendations), spins_before_notice, 0, 0};
    case HV_CPUID_IMPLEMENTATION_LIMITS:
        return {Partition::most_vps, LogicalProcessor::most, 0, 0};
    case HV_CPUID_CPU_MANAGEMENT_FEATURES:
        return {partition.is_root()
                ? HV_CPU_MANAGEMENT_START_LOGICAL_PROCESSOR | HV_CPU_MANAGEMENT_CREATE_ROOT_VP
                : 0,
            0, 0, 0};
    default:
        return {};
    }
}

/// A child's processors are cores, one thread each, of one package or of several.
std::uint32_t processors_in_package(const Partition& partition) {
    const std::uint32_t all = partition.vp_count();
    const std::uint32_t wanted = partition.processors_per_socket;
    return wanted != 0 ? std::min(wanted, all) : all;
}

/// Leaf 0xB.
CpuidResult topology(const VirtualProcessor& vp, std::uint32_t subleaf) {
    constexpr std::uint32_t level_thread = 1;
    constexpr std::uint32_t level_core = 2;
    const std::uint32_t count = processors_in_package(vp.partition());
    const auto shift = static_cast<std::uint32_t>(std::bit_width(count - 1));
    if (subleaf == 0) {
        return {0, 1, level_thread << 8, vp.index()};
    }
    if (subleaf == 1) {
        return {shift, count, (level_core << 8) | 1, vp.index()};
    }
    return {0, 0, subleaf & 0xff, vp.index()};
}

/// Leaf 0xD, but for the sizes of what is switched on.
void shape_states(const Partition& partition, std::uint32_t subleaf, CpuidResult& r) {
    constexpr std::uint32_t first_of_one_state = 2;
    constexpr std::uint32_t states = 64;
    if (subleaf == 0) {
        const std::uint64_t visible = partition.states();
        r.eax = static_cast<std::uint32_t>(visible);
        r.edx = static_cast<std::uint32_t>(visible >> 32);
        r.ecx = extended_state::size(visible);
    } else if (subleaf >= first_of_one_state &&
        (subleaf >= states || (partition.states() & (1ull << subleaf)) == 0)) {
        r = {};
    }
}

void shape_child(VirtualProcessor& vp, std::uint32_t leaf, std::uint32_t subleaf, CpuidResult& r) {
    const std::uint32_t count = processors_in_package(vp.partition());
    switch (leaf) {
    case 1:
        r.ebx = (r.ebx & 0xffff) | ((count & 0xff) << 16);
        r.edx = count > 1 ? r.edx | edx1_htt : r.edx & ~edx1_htt;
        if ((vp.partition().creation_flags() & HV_PARTITION_CREATION_FLAG_X2APIC_CAPABLE) == 0) {
            r.ecx &= ~ecx1_x2apic;
        }
        break;
    case leaf_topology:
        r = topology(vp, subleaf);
        break;
    case leaf_power:
        // Who has the control is told when it asks to be: a guest that does knows that it may move
        // to a processor whose counter has another rate.
        if (vp.partition().has_privilege(HV_ACCESS_TSC_INVARIANT_CONTROLS) &&
            vp.partition().tsc_invariant_control == 0) {
            r.edx &= ~edx_power_tsc_invariant;
        }
        break;
    case 0x80000008:
        r.ecx = (r.ecx & ~0xf0ffu) | ((count - 1) & 0xff) |
            (static_cast<std::uint32_t>(std::bit_width(count - 1)) << 12);
        break;
    case leaf_processor_topology:
        r = {vp.index(), vp.index() & 0xff, 0, 0};
        break;
    default:
        break;
    }
}

/// What the hypervisor answers by itself, but for what follows the processor's state.
CpuidResult own_values(VirtualProcessor& vp, std::uint32_t leaf, std::uint32_t subleaf) {
    constexpr std::uint32_t hypervisor_first = 0x40000000;
    constexpr std::uint32_t hypervisor_last = 0x400000ff;
    if (leaf >= hypervisor_first && leaf <= hypervisor_last) {
        return hypervisor_leaf(vp, leaf);
    }
    const Partition& partition = vp.partition();
    CpuidResult r = cpuid_policy::visible(cpuid(leaf, subleaf), leaf, subleaf,
        partition.is_root() ? cpuid_policy::Audience::root : cpuid_policy::Audience::child,
        partition.disabled_features);
    if (leaf == 1) {
        r.ecx |= ecx1_x2apic |
            (partition.has_feature(HV_SYNTHETIC_HYPERVISOR_PRESENT) ? ecx1_hypervisor : 0);
    } else if (leaf == leaf_states) {
        shape_states(partition, subleaf, r);
    }
    if (!partition.is_root()) {
        shape_child(vp, leaf, subleaf, r);
    }
    return r;
}

void apply_registered(
    VirtualProcessor& vp, std::uint32_t leaf, std::uint32_t subleaf, CpuidResult& r) {
    const CpuidResult own = r;
    {
        const SpinGuard guard{vp.partition().cpuid_lock};
        vp.partition().cpuid_overrides.apply(leaf, subleaf, own, r);
    }
    vp.cpuid_overrides.apply(leaf, subleaf, own, r);
}

/// Bits that follow the processor's state, whatever was registered. \param states asked for when
/// they are needed: XCR0 and XSS together.
template <class States>
void follow_state(VirtualProcessor& vp, std::uint32_t leaf, std::uint32_t subleaf, States&& states,
    CpuidResult& r) {
    constexpr std::uint32_t initial_id_shift = 24;
    constexpr std::uint32_t others = (1u << initial_id_shift) - 1;
    const bool is_there = (r.eax | r.ebx | r.ecx | r.edx) != 0;
    switch (leaf) {
    case 1:
        r.ebx = (r.ebx & others) | (vp.apic().id() << initial_id_shift);
        r.ecx &= ~ecx1_osxsave;
        if ((r.ecx & ecx1_xsave) != 0 && (vp.cpu().get(CpuRegister::cr4) & cr4_osxsave) != 0) {
            r.ecx |= ecx1_osxsave;
        }
        if (vp.apic().mode() == VirtualLocalApic::Mode::disabled) {
            r.edx &= ~edx1_apic;
        }
        break;
    case leaf_topology:
    case leaf_topology_v2:
    case leaf_topology_amd:
        r.edx = is_there ? vp.apic().id() : r.edx;
        break;
    case leaf_states:
        if (subleaf == 0 && r.ebx != 0) {
            r.ebx = extended_state::size(states());
        } else if (subleaf == 1 && (r.eax & eax_d_1_compacted) != 0) {
            r.ebx = extended_state::compacted_size(states());
        }
        break;
    case leaf_processor_topology:
        r.eax = is_there ? vp.apic().id() : r.eax;
        break;
    default:
        break;
    }
}

} // namespace

CpuidResult partition_cpuid(VirtualProcessor& vp, std::uint32_t leaf, std::uint32_t ecx) {
    const std::uint32_t subleaf = cpuid_policy::is_without_subleaves(leaf) ? 0 : ecx;
    const std::uint32_t generation = vp.partition().cpuid_generation();
    CpuidResult r;
    if (const CpuidResult* const known = vp.cpuid_cache.find(leaf, subleaf, generation);
        known != nullptr) {
        r = *known;
    } else {
        r = own_values(vp, leaf, subleaf);
        apply_registered(vp, leaf, subleaf, r);
        vp.cpuid_cache.remember(leaf, subleaf, generation, r);
    }
    follow_state(
        vp, leaf, subleaf, [] { return extended_state::current_xcr0(); }, r);
    return r;
}

CpuidResult cpuid_values(
    VirtualProcessor& vp, std::uint32_t leaf, std::uint32_t subleaf, const CpuidView& view) {
    CpuidResult r = own_values(vp, leaf, subleaf);
    if (view.registered) {
        apply_registered(vp, leaf, subleaf, r);
    }
    follow_state(
        vp, leaf, subleaf, [&view] { return view.states; }, r);
    return r;
}

} // namespace hypervisor
