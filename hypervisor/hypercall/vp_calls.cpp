// SPDX-License-Identifier: Apache-2.0
#include "abi/partition.h"
#include "abi/register.h"
#include "abi/synic.h"
#include "hypervisor/cpu/extended_state.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/cpu/register_rules.hpp"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/hypercall/target.hpp"
#include "hypervisor/partition/cpuid.hpp"
#include "hypervisor/partition/lifecycle.hpp"
#include "hypervisor/partition/registers.hpp"
#include "hypervisor/partition/root.hpp"
#include "hypervisor/scheduler/balance.hpp"
#include "hypervisor/scheduler/scheduler.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace hypervisor::hypercall {

namespace {

/// The suspend registers act on the virtual processor while it may run.
bool is_suspend_register(std::uint32_t name) {
    return name == HV_REGISTER_EXPLICIT_SUSPEND || name == HV_REGISTER_INTERCEPT_SUSPEND ||
        name == HV_REGISTER_DISPATCH_SUSPEND;
}

void set_suspend_register(
    VirtualProcessor& caller, VirtualProcessor& vp, std::uint32_t name, bool suspend) {
    const VirtualProcessor::Block block = name == HV_REGISTER_EXPLICIT_SUSPEND
        ? VirtualProcessor::explicit_suspend
        : name == HV_REGISTER_INTERCEPT_SUSPEND ? VirtualProcessor::intercept_suspend
                                                : VirtualProcessor::dispatch_suspend;
    if (suspend) {
        vp.set_block(block);
        scheduler::stop(vp);
        return;
    }
    vp.parent_lp.store(&LogicalProcessor::current(), std::memory_order_release);
    {
        // It goes on when the hold ends.
        const VirtualProcessor::Hold hold{vp};
        if (block == VirtualProcessor::intercept_suspend && (vp.blocks() & block) != 0) {
            vp.resume_from_intercept();
        }
        vp.clear_block(block);
    }
    balance::hand_over(caller, vp);
}

/// Copies between pages of the caller and a buffer of the hypervisor's.
bool copy_pages(
    Call& call, std::span<const std::uint64_t> pages, std::span<std::byte> buffer, bool to_caller) {
    Partition& caller = call.caller.partition();
    for (const std::uint64_t page : pages) {
        if (buffer.empty()) {
            return true;
        }
        const auto piece = buffer.first(std::min<std::size_t>(buffer.size(), page_size));
        const std::uint64_t gpa = GpaPage{page}.address();
        if (page >= Slat::address_limit >> page_shift) {
            return false;
        }
        if (to_caller ? !caller.write_gpa(gpa, piece) : !caller.read_gpa(gpa, piece)) {
            return false;
        }
        buffer = buffer.subspan(piece.size());
    }
    return buffer.empty();
}

/// Of the extended state in the larger of its two forms.
std::uint32_t state_size(const VirtualProcessor& vp) {
    const std::uint64_t states = vp.partition().states();
    return std::max(extended_state::size(states), extended_state::compacted_size(states));
}

/// A pending NMI travels in IRR, where there is no such vector.
constexpr std::uint32_t local_apic_nmi = 1u << 2;

/// The page of messages or event flags, which is there before the guest has placed it as soon as
/// its content counts. \return nothing if the partition has no memory for it.
std::optional<SpaPage> synic_page(VirtualProcessor& vp, std::uint32_t type) {
    Overlay& overlay = (type & ~HV_VP_STATE_TYPE_PFN) == HV_VP_STATE_SIM_PAGE
        ? vp.overlays.message
        : vp.overlays.event_flags;
    const SpinGuard guard{vp.partition().space_lock()};
    if (overlay.page == SpaPage{}) {
        const auto page = vp.partition().deposits().allocate();
        if (!page) {
            return std::nullopt;
        }
        overlay.page = *page;
    }
    return overlay.page;
}

Status get_state(
    VirtualProcessor& vp, Call& call, std::uint32_t type, std::span<const std::uint64_t> pages) {
    switch (type) {
    case HV_VP_STATE_LAPIC | HV_VP_STATE_TYPE_PFN: {
        LocalApicState state = vp.apic().save(vp.apic_time());
        state.interrupt_request[0] |= vp.nmi_pending() ? local_apic_nmi : 0;
        const auto bytes = std::as_writable_bytes(std::span{&state, 1});
        return copy_pages(call, pages, bytes, true) ? Status::success : Status::invalid_parameter;
    }
    case HV_VP_STATE_XSAVE | HV_VP_STATE_TYPE_PFN: {
        const std::uint64_t states = vp.partition().states();
        const std::span bytes{
            LogicalProcessor::current().call_input(), extended_state::compacted_size(states)};
        extended_state::compact(vp.cpu().extended_state(), states, bytes);
        return copy_pages(call, pages, bytes, true) ? Status::success : Status::invalid_parameter;
    }
    case HV_VP_STATE_SIM_PAGE | HV_VP_STATE_TYPE_PFN:
    case HV_VP_STATE_SIEF_PAGE | HV_VP_STATE_TYPE_PFN: {
        const auto page = synic_page(vp, type);
        if (!page) {
            return Status::insufficient_memory;
        }
        return copy_pages(call, pages, {pointer_to<std::byte>(*page), page_size}, true)
            ? Status::success
            : Status::invalid_parameter;
    }
    case HV_VP_STATE_SYNTHETIC_TIMERS: {
        hv_synthetic_timers_state state{};
        vp.synthetic_timers().save(state);
        call.out(state);
        return Status::success;
    }
    default:
        return Status::invalid_parameter;
    }
}

Status set_state(
    VirtualProcessor& vp, Call& call, std::uint32_t type, std::span<const std::uint64_t> pages) {
    switch (type) {
    case HV_VP_STATE_LAPIC | HV_VP_STATE_TYPE_PFN: {
        LocalApicState state{};
        if (!copy_pages(call, pages, std::as_writable_bytes(std::span{&state, 1}), false)) {
            return Status::invalid_parameter;
        }
        const bool has_nmi = (state.interrupt_request[0] & local_apic_nmi) != 0;
        state.interrupt_request[0] &= ~local_apic_nmi;
        if (!vp.apic().restore(state, vp.apic_time())) {
            return Status::invalid_register_value;
        }
        if (has_nmi) {
            vp.accept_nmi();
        } else {
            vp.forget_nmi();
        }
        vp.timers_changed();
        vp.notify_event();
        return Status::success;
    }
    case HV_VP_STATE_XSAVE | HV_VP_STATE_TYPE_PFN: {
        // Checked in a copy: the pages are the caller's to change.
        const std::span buffer{LogicalProcessor::current().call_output(), state_size(vp)};
        if (!copy_pages(call, pages, buffer, false)) {
            return Status::invalid_parameter;
        }
        if (!is_valid_extended_state(
                buffer, vp.partition().states(), extended_state::mxcsr_mask())) {
            return Status::invalid_register_value;
        }
        extended_state::expand(buffer, vp.cpu().extended_state());
        return Status::success;
    }
    case HV_VP_STATE_SIM_PAGE | HV_VP_STATE_TYPE_PFN:
    case HV_VP_STATE_SIEF_PAGE | HV_VP_STATE_TYPE_PFN: {
        const auto page = synic_page(vp, type);
        if (!page) {
            return Status::insufficient_memory;
        }
        return copy_pages(call, pages, {pointer_to<std::byte>(*page), page_size}, false)
            ? Status::success
            : Status::invalid_parameter;
    }
    case HV_VP_STATE_SYNTHETIC_TIMERS: {
        if (call.variable_header < sizeof(hv_synthetic_timers_state)) {
            return Status::invalid_parameter;
        }
        const auto state = call.in<hv_synthetic_timers_state>(sizeof(hv_input_vp_state));
        vp.timers_changed();
        vp.notify_event();
        return vp.synthetic_timers().restore(state, vp.partition().reference_time())
            ? Status::success
            : Status::invalid_register_value;
    }
    default:
        return Status::invalid_parameter;
    }
}

Status transfer_state(Call& call, bool set) {
    constexpr std::size_t most_pages = 8;
    const auto in = call.in<hv_input_vp_state>();
    const auto vp = find_childs_vp(call, in.partition_id, in.vp_index);
    if (!vp) {
        return vp.error();
    }
    std::array<std::uint64_t, most_pages> pages{};
    std::size_t count = 0;
    if ((in.type & HV_VP_STATE_TYPE_PFN) != 0) {
        count = call.variable_header / sizeof(std::uint64_t);
        if (count == 0 || count > most_pages) {
            return Status::invalid_parameter;
        }
        std::memcpy(pages.data(), call.input.data() + sizeof in, count * sizeof(std::uint64_t));
    }
    const VirtualProcessor::Hold hold{*vp};
    const std::span<const std::uint64_t> list{pages.data(), count};
    return set ? set_state(*vp, call, in.type, list) : get_state(*vp, call, in.type, list);
}

} // namespace

Status create_vp(Call& call) {
    const auto in = call.in<hv_input_create_vp>();
    const auto target = find_target(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    if (in.vp_index >= Partition::most_vps || target->vp(in.vp_index) != nullptr) {
        return Status::invalid_vp_index;
    }
    if (target->is_root()) {
        return root::create_vp(in.vp_index, in.flags);
    }
    if (in.flags != 0) {
        return Status::invalid_parameter;
    }
    if (target->state() != Partition::State::initialized) {
        return Status::invalid_partition_state;
    }
    const auto vp = lifecycle::create_vp(
        *target, in.vp_index, LogicalProcessor::current(), target->deposits(), in.vp_index == 0);
    if (!vp) {
        return vp.error();
    }
    return Status::success;
}

Status delete_vp(Call& call) {
    const auto in = call.in<hv_input_delete_vp>();
    const auto target = find_child(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    return lifecycle::destroy_vp(*target, in.vp_index) ? Status::success : Status::invalid_vp_index;
}

Status get_vp_registers(Call& call) {
    const auto in = call.in<hv_input_get_vp_registers>();
    const auto target = find_target(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    const auto found = find_vp(call, *target, in.vp_index);
    if (!found) {
        return found.error();
    }
    VirtualProcessor* const vp = *found;
    const VirtualProcessor::Hold hold{*vp};
    vp->settle_register_page();
    for (; call.rep_index < call.rep_count; ++call.rep_index) {
        hv_register_value value{};
        const Status status = get_register(
            *vp, call.rep<std::uint32_t, hv_input_get_vp_registers>(call.rep_index), value);
        if (status != Status::success) {
            return status;
        }
        call.out(value, call.rep_index * sizeof value);
    }
    return Status::success;
}

Status set_vp_registers(Call& call) {
    const auto in = call.in<hv_input_set_vp_registers>();
    const auto target = find_target(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    const auto found = find_vp(call, *target, in.vp_index);
    if (!found) {
        return found.error();
    }
    VirtualProcessor* const vp = *found;
    if (vp == &call.caller) {
        return Status::invalid_vp_state; // it has instructions for that
    }
    std::optional<VirtualProcessor::Hold> hold;
    for (; call.rep_index < call.rep_count; ++call.rep_index) {
        const auto assoc = call.rep<hv_register_assoc, hv_input_set_vp_registers>(call.rep_index);
        if (is_suspend_register(assoc.name)) {
            hold.reset();
            set_suspend_register(call.caller, *vp, assoc.name, (assoc.value.reg64 & 1) != 0);
            continue;
        }
        if (!hold) {
            hold.emplace(*vp);
            vp->settle_register_page();
        }
        const Status status = set_register(*vp, assoc.name, assoc.value);
        vp->refresh_register_page();
        if (status != Status::success) {
            return status;
        }
    }
    return Status::success;
}

Status get_vp_state(Call& call) {
    return transfer_state(call, false);
}
Status set_vp_state(Call& call) {
    return transfer_state(call, true);
}

Status map_vp_state_page(Call& call) {
    const auto in = call.in<hv_input_map_vp_state_page>();
    const auto vp = find_childs_vp(call, in.partition_id, in.vp_index);
    if (!vp) {
        return vp.error();
    }
    const bool registers = in.type == HV_VP_STATE_PAGE_REGISTERS;
    if (!registers && in.type != HV_VP_STATE_PAGE_INTERCEPT_MESSAGE) {
        return Status::invalid_parameter;
    }
    const VirtualProcessor::Hold hold{*vp};
    const void* const mapped = registers ? static_cast<const void*>(vp->register_page)
                                         : static_cast<const void*>(vp->intercept_page);
    if (mapped != nullptr) {
        return Status::invalid_vp_state;
    }
    const auto page = lifecycle::share_page(vp.partition().deposits());
    if (!page) {
        return Status::insufficient_memory;
    }
    if (registers) {
        vp->register_page = pointer_to<hv_vp_register_page>(*page);
    } else {
        vp->intercept_page = pointer_to<hv_message>(*page);
    }
    call.out(hv_output_map_vp_state_page{.map_location = page->number()});
    return Status::success;
}

Status unmap_vp_state_page(Call& call) {
    const auto in = call.in<hv_input_unmap_vp_state_page>();
    const auto vp = find_childs_vp(call, in.partition_id, in.vp_index);
    if (!vp) {
        return vp.error();
    }
    const VirtualProcessor::Hold hold{*vp};
    const void* page = nullptr;
    if (in.type == HV_VP_STATE_PAGE_REGISTERS) {
        page = vp->register_page;
        vp->register_page = nullptr;
    } else if (in.type == HV_VP_STATE_PAGE_INTERCEPT_MESSAGE) {
        page = vp->intercept_page;
        vp->intercept_page = nullptr;
    }
    if (page == nullptr) {
        return Status::invalid_parameter;
    }
    lifecycle::unshare_page(
        vp.partition().deposits(), SpaPage::containing(reinterpret_cast<std::uint64_t>(page)));
    return Status::success;
}

Status get_vp_index_from_apic_id(Call& call) {
    const auto in = call.in<hv_input_get_vp_index_from_apic_id>();
    const auto target = find_target(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    for (; call.rep_index < call.rep_count; ++call.rep_index) {
        const auto apic_id =
            call.rep<std::uint32_t, hv_input_get_vp_index_from_apic_id>(call.rep_index);
        const VirtualProcessor* found = nullptr;
        target->for_each_vp(
            [&](VirtualProcessor& vp) { found = vp.apic().id() == apic_id ? &vp : found; });
        if (found == nullptr) {
            return Status::invalid_parameter;
        }
        call.out(found->index(), call.rep_index * sizeof(std::uint32_t));
    }
    return Status::success;
}

Status get_vp_cpuid_values(Call& call) {
    const auto in = call.in<hv_input_get_vp_cpuid_values>();
    const auto target = find_target(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    const auto found = find_vp(call, *target, in.vp_index);
    if (!found) {
        return found.error();
    }
    VirtualProcessor* const vp = *found;
    const VirtualProcessor::Hold hold{*vp};
    const std::uint64_t own_states =
        vp->cpu().get(CpuRegister::xcr0) | vp->cpu().get(CpuRegister::xss);
    for (; call.rep_index < call.rep_count; ++call.rep_index) {
        const auto leaf =
            call.rep<hv_cpuid_leaf_info, hv_input_get_vp_cpuid_values>(call.rep_index);
        const bool has_own_states = (in.flags & HV_GET_VP_CPUID_VALUES_USE_VP_XFEM_XSS) != 0;
        const CpuidResult result = cpuid_values(*vp, leaf.eax, leaf.ecx,
            {.states = has_own_states ? own_states : leaf.xfem | leaf.xss,
                .registered = (in.flags & HV_GET_VP_CPUID_VALUES_APPLY_REGISTERED_VALUES) != 0});
        call.out(result, call.rep_index * sizeof result);
    }
    return Status::success;
}

} // namespace hypervisor::hypercall
