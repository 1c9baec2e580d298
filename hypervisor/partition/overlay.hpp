// SPDX-License-Identifier: Apache-2.0
// Pages that lie over a guest's memory: the hypercall page, the reference TSC page, the VP assist
// page and the SynIC's pages (TLFS "GPA Overlay Pages"). The root's have places of their own, in
// reserved memory, which it reads from the registers and cannot change.
#pragma once

#include "hypervisor/partition/msr.hpp"

namespace hypervisor {

class Partition;

namespace overlay {

MsrResult set_guest_os_id(VirtualProcessor& vp, std::uint64_t value);
MsrResult set_hypercall_page(VirtualProcessor& vp, std::uint64_t value);
/// What its parent has it hold: its lock and the lack of an identity, which may follow, don't
/// count.
MsrResult restore_hypercall_page(VirtualProcessor& vp, std::uint64_t value);
MsrResult set_reference_tsc_page(VirtualProcessor& vp, std::uint64_t value);
MsrResult set_vp_assist_page(VirtualProcessor& vp, std::uint64_t value);
MsrResult set_message_page(VirtualProcessor& vp, std::uint64_t value);
MsrResult set_event_flags_page(VirtualProcessor& vp, std::uint64_t value);
MsrResult set_event_ring_page(VirtualProcessor& vp, std::uint64_t value);

/// Has the page tell the partition's time as it is now, if there is one.
void refresh_reference_tsc_page(Partition& partition);

/// What the registers of a new root VP show.
void initialise_root(VirtualProcessor& vp);

} // namespace overlay

} // namespace hypervisor
