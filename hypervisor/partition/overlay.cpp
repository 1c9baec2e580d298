// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/overlay.hpp"

#include "abi/msr.h"
#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/partition/machine_statistics.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

#include <atomic>
#include <cstddef>
#include <cstring>

namespace hypervisor::overlay {

namespace {

/// Moves an overlay to where the register says, or takes it away. Under the space's lock, so that
/// of two virtual processors that write one register the second finds what the first has made.
/// \return no_memory, or fault if it is no address; then nothing has changed.
MsrResult place(Partition& partition, Overlay& overlay, std::uint64_t value) {
    const bool enabled = (value & HV_MSR_PAGE_ENABLE) != 0;
    const auto gpa = GpaPage::containing(value);
    if (partition.is_root()) {
        return MsrResult::done; // the root's pages stay where they are
    }
    if (!enabled) {
        partition.space().lift(overlay);
        return MsrResult::done;
    }
    if (gpa.address() >= Slat::address_limit) {
        return MsrResult::fault;
    }
    if (overlay.active && overlay.gpa == gpa) {
        return MsrResult::done;
    }
    const bool is_new = overlay.page == SpaPage{};
    if (is_new) {
        const auto page = partition.deposits().allocate();
        if (!page) {
            return MsrResult::no_memory;
        }
        overlay.page = *page;
    }
    if (partition.space().lay(overlay, gpa) == Status::success) {
        return MsrResult::done;
    }
    if (is_new) {
        partition.deposits().free(overlay.page);
        overlay.page = SpaPage{};
    }
    return MsrResult::no_memory;
}

/// The register of a root VP keeps its page; only the enable bit is the root's.
std::uint64_t allowed(const Partition& partition, std::uint64_t old, std::uint64_t value) {
    return partition.is_root() ? (old & ~HV_MSR_PAGE_ENABLE) | (value & HV_MSR_PAGE_ENABLE) : value;
}

/// Writes an overlay's register: page and register change together, or neither.
/// \param fill called with the page when it has been placed.
template <class F>
MsrResult update(Partition& partition, Overlay& overlay, std::uint64_t& place_register,
    std::uint64_t value, F&& fill) {
    {
        const SpinGuard guard{partition.space_lock()};
        value = allowed(partition, place_register, value);
        const MsrResult placed = place(partition, overlay, value);
        if (placed != MsrResult::done) {
            return placed;
        }
        if (overlay.page != SpaPage{}) {
            fill(overlay.page);
        }
        place_register = value;
    }
    if (!partition.is_root()) {
        partition.flush_tlb();
        machine_statistics::refresh(partition);
    }
    return MsrResult::done;
}

MsrResult update(
    VirtualProcessor& vp, Overlay& overlay, std::uint64_t& place_register, std::uint64_t value) {
    return update(vp.partition(), overlay, place_register, value, [](SpaPage) {});
}

/// The page that the register's overlay shows, or null while it is off.
template <class T>
T* shown(const Overlay& overlay, std::uint64_t place_register) {
    return (place_register & HV_MSR_PAGE_ENABLE) != 0 ? pointer_to<T>(overlay.page) : nullptr;
}

/// VMMCALL; RET. The page's end is filled with INT3: nothing there is meant to run.
void fill_hypercall_page(SpaPage page) {
    constexpr std::uint8_t code[] = {0x0f, 0x01, 0xd9, 0xc3};
    auto* const bytes = pointer_to<std::uint8_t>(page);
    std::memset(bytes, 0xcc, page_size);
    std::memcpy(bytes, code, sizeof code);
}

/// The sequence is 0, which says that the page is not to be used, while it changes, and while the
/// guest's counters differ (TLFS "Partition Reference TSC Mechanism"). Under the space's lock.
void fill_reference_tsc_page(Partition& partition, SpaPage page) {
    auto* const to = pointer_to<hv_reference_tsc_page>(page);
    static_assert(offsetof(hv_reference_tsc_page, tsc_sequence) == 0);
    const std::atomic_ref sequence{*pointer_to<std::uint32_t>(page)};
    sequence.store(0, std::memory_order_seq_cst);
    const auto offset = partition.clock().page_offset();
    if (!offset) {
        return;
    }
    to->tsc_scale = clock::reference_scale();
    to->tsc_offset = static_cast<std::int64_t>(*offset);
    const std::uint32_t next = partition.reference_tsc_sequence + 1;
    partition.reference_tsc_sequence = next != 0 ? next : 1;
    sequence.store(partition.reference_tsc_sequence, std::memory_order_seq_cst);
}

} // namespace

MsrResult set_guest_os_id(VirtualProcessor& vp, std::uint64_t value) {
    Partition& partition = vp.partition();
    partition.guest_os_id = value;
    if (value == 0) {
        // Without an identity there is no hypercall interface (TLFS "Establishing the Interface").
        (void)update(vp, partition.hypercall_overlay, partition.hypercall_page,
            partition.hypercall_page & ~HV_MSR_PAGE_ENABLE);
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
    return restore_hypercall_page(vp, value);
}

MsrResult restore_hypercall_page(VirtualProcessor& vp, std::uint64_t value) {
    Partition& partition = vp.partition();
    return update(partition, partition.hypercall_overlay, partition.hypercall_page, value,
        fill_hypercall_page);
}

MsrResult set_reference_tsc_page(VirtualProcessor& vp, std::uint64_t value) {
    Partition& partition = vp.partition();
    return update(partition, partition.reference_tsc_overlay, partition.reference_tsc_page, value,
        [&partition](SpaPage page) { fill_reference_tsc_page(partition, page); });
}

void refresh_reference_tsc_page(Partition& partition) {
    const SpinGuard guard{partition.space_lock()};
    if (const Overlay& overlay = partition.reference_tsc_overlay; overlay.page != SpaPage{}) {
        fill_reference_tsc_page(partition, overlay.page);
    }
}

MsrResult set_vp_assist_page(VirtualProcessor& vp, std::uint64_t value) {
    const MsrResult result = update(vp, vp.overlays.vp_assist, vp.vp_assist_page, value);
    if (result == MsrResult::done) {
        vp.eoi_assist().set_page(
            shown<hv_vp_assist_page>(vp.overlays.vp_assist, vp.vp_assist_page));
    }
    return result;
}

MsrResult set_message_page(VirtualProcessor& vp, std::uint64_t value) {
    const MsrResult result = update(vp, vp.overlays.message, vp.message_page_register, value);
    if (result == MsrResult::done) {
        vp.synic().set_message_page(
            shown<hv_message_page>(vp.overlays.message, vp.message_page_register));
        vp.look_at_slots();
    }
    return result;
}

MsrResult set_event_flags_page(VirtualProcessor& vp, std::uint64_t value) {
    const MsrResult result =
        update(vp, vp.overlays.event_flags, vp.event_flags_page_register, value);
    if (result == MsrResult::done) {
        vp.synic().set_event_flags_page(shown<hv_synic_event_flags_page>(
            vp.overlays.event_flags, vp.event_flags_page_register));
    }
    return result;
}

MsrResult set_event_ring_page(VirtualProcessor& vp, std::uint64_t value) {
    if (!vp.partition().is_root()) {
        return MsrResult::fault; // only a root has ports whose events come in rings
    }
    (void)update(vp, vp.overlays.event_ring, vp.event_ring_page_register, value);
    vp.synic().set_event_ring_page(
        shown<hv_synic_event_ring_page>(vp.overlays.event_ring, vp.event_ring_page_register));
    return MsrResult::done;
}

void initialise_root(VirtualProcessor& vp) {
    vp.message_page_register = vp.overlays.message.page.address();
    vp.event_flags_page_register = vp.overlays.event_flags.page.address();
    vp.event_ring_page_register = vp.overlays.event_ring.page.address();
    vp.vp_assist_page = vp.overlays.vp_assist.page.address();
}

} // namespace hypervisor::overlay
