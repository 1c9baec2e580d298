// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/overlay.hpp"

#include "abi/msr.h"
#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <cstring>

namespace hypervisor::overlay {

namespace {

/// Moves an overlay to where the register says, or takes it away.
/// \return false if that needs memory that the partition does not have, or is no address.
bool place(Partition& partition, Overlay& overlay, std::uint64_t value) {
    const bool enabled = (value & HV_MSR_PAGE_ENABLE) != 0;
    const auto gpa = GpaPage::containing(value);
    if (partition.is_root() || (!enabled && !overlay.active)) {
        return true; // the root's pages stay where they are
    }
    if (enabled && gpa.address() >= Slat::address_limit) {
        return false;
    }
    if (overlay.active && enabled && overlay.gpa == gpa) {
        return true;
    }
    if (enabled && overlay.page == SpaPage{}) {
        const auto page = partition.deposits().allocate();
        if (!page) {
            return false;
        }
        overlay.page = *page;
    }
    bool placed = true;
    {
        const SpinGuard guard{partition.space_lock()};
        partition.space().lift(overlay);
        placed = !enabled || partition.space().lay(overlay, gpa) == Status::success;
    }
    partition.flush_tlb();
    return placed;
}

/// The register of a root VP keeps its page; only the enable bit is the root's.
std::uint64_t allowed(const VirtualProcessor& vp, std::uint64_t old, std::uint64_t value) {
    return vp.partition().is_root() ? (old & ~HV_MSR_PAGE_ENABLE) | (value & HV_MSR_PAGE_ENABLE)
                                    : value;
}

/// VMMCALL; RET. The page's end is filled with INT3: nothing there is meant to run.
void fill_hypercall_page(SpaPage page) {
    constexpr std::uint8_t code[] = {0x0f, 0x01, 0xd9, 0xc3};
    auto* const bytes = pointer_to<std::uint8_t>(page);
    std::memset(bytes, 0xcc, page_size);
    std::memcpy(bytes, code, sizeof code);
}

void fill_reference_tsc_page(SpaPage page) {
    auto* const to = pointer_to<hv_reference_tsc_page>(page);
    to->tsc_scale = clock::reference_scale();
    to->tsc_offset = 0;
    to->tsc_sequence = 1;
}

} // namespace

MsrResult set_guest_os_id(VirtualProcessor& vp, std::uint64_t value) {
    Partition& partition = vp.partition();
    partition.guest_os_id = value;
    if (value == 0) {
        // Without an identity there is no hypercall interface (TLFS "Establishing the Interface").
        partition.hypercall_page &= ~HV_MSR_PAGE_ENABLE;
        (void)place(partition, partition.hypercall_overlay, 0);
    }
    return MsrResult::done;
}

MsrResult set_hypercall_page(VirtualProcessor& vp, std::uint64_t value) {
    Partition& partition = vp.partition();
    if ((partition.hypercall_page & HV_MSR_HYPERCALL_LOCKED) != 0) {
        return MsrResult::fault;
    }
    if (partition.guest_os_id == 0) {
        value &= ~HV_MSR_PAGE_ENABLE;
    }
    value = allowed(vp, partition.hypercall_page, value);
    if (!place(partition, partition.hypercall_overlay, value)) {
        return MsrResult::fault;
    }
    if (partition.hypercall_overlay.page != SpaPage{}) {
        fill_hypercall_page(partition.hypercall_overlay.page);
    }
    partition.hypercall_page = value;
    return MsrResult::done;
}

MsrResult set_reference_tsc_page(VirtualProcessor& vp, std::uint64_t value) {
    Partition& partition = vp.partition();
    value = allowed(vp, partition.reference_tsc_page, value);
    if (!place(partition, partition.reference_tsc_overlay, value)) {
        return MsrResult::fault;
    }
    if (partition.reference_tsc_overlay.page != SpaPage{}) {
        fill_reference_tsc_page(partition.reference_tsc_overlay.page);
        pointer_to<hv_reference_tsc_page>(partition.reference_tsc_overlay.page)->tsc_offset =
            static_cast<std::int64_t>(partition.reference_offset());
    }
    partition.reference_tsc_page = value;
    return MsrResult::done;
}

MsrResult set_vp_assist_page(VirtualProcessor& vp, std::uint64_t value) {
    value = allowed(vp, vp.vp_assist_page, value);
    if (!place(vp.partition(), vp.overlays.vp_assist, value)) {
        return MsrResult::fault;
    }
    vp.vp_assist_page = value;
    return MsrResult::done;
}

MsrResult set_message_page(VirtualProcessor& vp, std::uint64_t value) {
    value = allowed(vp, vp.message_page_register, value);
    if (!place(vp.partition(), vp.overlays.message, value)) {
        return MsrResult::fault;
    }
    vp.message_page_register = value;
    const bool enabled = (value & HV_MSR_PAGE_ENABLE) != 0;
    vp.synic().set_message_page(
        enabled ? pointer_to<hv_message_page>(vp.overlays.message.page) : nullptr);
    vp.accept(vp.synic().end_of_message()); // what has waited for this
    return MsrResult::done;
}

MsrResult set_event_flags_page(VirtualProcessor& vp, std::uint64_t value) {
    value = allowed(vp, vp.event_flags_page_register, value);
    if (!place(vp.partition(), vp.overlays.event_flags, value)) {
        return MsrResult::fault;
    }
    vp.event_flags_page_register = value;
    const bool enabled = (value & HV_MSR_PAGE_ENABLE) != 0;
    vp.synic().set_event_flags_page(
        enabled ? pointer_to<hv_synic_event_flags_page>(vp.overlays.event_flags.page) : nullptr);
    return MsrResult::done;
}

MsrResult set_event_ring_page(VirtualProcessor& vp, std::uint64_t value) {
    if (!vp.partition().is_root()) {
        return MsrResult::fault; // only a root has ports whose events come in rings
    }
    value = allowed(vp, vp.event_ring_page_register, value);
    vp.event_ring_page_register = value;
    const bool enabled = (value & HV_MSR_PAGE_ENABLE) != 0;
    vp.synic().set_event_ring_page(
        enabled ? pointer_to<hv_synic_event_ring_page>(vp.overlays.event_ring.page) : nullptr);
    return MsrResult::done;
}

void initialise_root(VirtualProcessor& vp) {
    vp.message_page_register = vp.overlays.message.page.address();
    vp.event_flags_page_register = vp.overlays.event_flags.page.address();
    vp.event_ring_page_register = vp.overlays.event_ring.page.address();
    vp.vp_assist_page = vp.overlays.vp_assist.page.address();
}

} // namespace hypervisor::overlay
