// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/memory/address_space.hpp"

namespace hypervisor {

Overlay* AddressSpace::overlay_at(GpaPage gpa) const {
    if ((filter_ & filter_bit(gpa)) == 0) {
        return nullptr;
    }
    // The latest comes first in the list; what is mapped belongs below the one laid first.
    Overlay* lowest = nullptr;
    for (Overlay* overlay = first_; overlay != nullptr; overlay = overlay->next) {
        lowest = overlay->gpa == gpa ? overlay : lowest;
    }
    return lowest;
}

bool AddressSpace::has_overlay_within(GpaPage large) const {
    if ((filter_ & filter_bit(large)) == 0) {
        return false;
    }
    for (const Overlay* overlay = first_; overlay != nullptr; overlay = overlay->next) {
        if (overlay->gpa.number() / pages_per_large_page == large.number() / pages_per_large_page) {
            return true;
        }
    }
    return false;
}

Status AddressSpace::map(GpaPage gpa, SpaPage spa, std::uint32_t map_flags, ReleaseList& released) {
    if (Overlay* const overlay = overlay_at(gpa); overlay != nullptr) {
        return slat_.replace_detached(
            overlay->below, NestedPageEntry::leaf(spa, map_flags, false), released);
    }
    return slat_.map(gpa, spa, map_flags, released);
}

Status AddressSpace::map_no_access(GpaPage gpa, ReleaseList& released) {
    if (Overlay* const overlay = overlay_at(gpa); overlay != nullptr) {
        return slat_.replace_detached(overlay->below, NestedPageEntry::no_access(), released);
    }
    return slat_.map_no_access(gpa, released);
}

Status AddressSpace::unmap(GpaPage gpa, ReleaseList& released) {
    if (Overlay* const overlay = overlay_at(gpa); overlay != nullptr) {
        return slat_.replace_detached(overlay->below, NestedPageEntry{}, released);
    }
    return slat_.unmap(gpa, released);
}

// 2 MiB with an overlay in them are changed page by page: they can't be one entry. So are those
// whose pages have each a state to keep.

Status AddressSpace::map_large(
    GpaPage gpa, SpaPage spa, std::uint32_t map_flags, ReleaseList& released) {
    if (!has_overlay_within(gpa) && !slat_.tracks_pages()) {
        return slat_.map_large(gpa, spa, map_flags, released);
    }
    // Whole or not at all: held as one, no page can be refused, and there is a table.
    if (!slat_.make_table(gpa)) {
        return Status::insufficient_memory;
    }
    if (!slat_.try_hold_large(spa)) {
        return Status::access_denied;
    }
    Status status = Status::success;
    for (std::uint64_t i = 0; i < pages_per_large_page && status == Status::success; ++i) {
        status = map(gpa + i, spa + i, map_flags, released);
    }
    slat_.let_go_large(spa);
    return status;
}

Status AddressSpace::map_no_access_large(GpaPage gpa, ReleaseList& released) {
    if (!has_overlay_within(gpa) && !(slat_.tracks_pages() && slat_.has_table(gpa))) {
        return slat_.map_no_access_large(gpa, released);
    }
    Status status = Status::success;
    for (std::uint64_t i = 0; i < pages_per_large_page && status == Status::success; ++i) {
        status = map_no_access(gpa + i, released);
    }
    return status;
}

Status AddressSpace::unmap_large(GpaPage gpa, ReleaseList& released) {
    if (!has_overlay_within(gpa)) {
        return slat_.unmap_large(gpa, released);
    }
    Status status = Status::success;
    for (std::uint64_t i = 0; i < pages_per_large_page && status == Status::success; ++i) {
        status = unmap(gpa + i, released);
    }
    return status;
}

std::uint8_t AddressSpace::access_state(GpaPage gpa, std::uint64_t flags, bool& changed) {
    if (Overlay* const overlay = overlay_at(gpa); overlay != nullptr) {
        return Slat::detached_access_state(overlay->below, flags);
    }
    return slat_.access_state(gpa, flags, changed);
}

Status AddressSpace::lay(Overlay& overlay, GpaPage gpa) {
    if (!slat_.prepare(gpa)) {
        return Status::insufficient_memory;
    }
    lift(overlay);
    const auto entry = NestedPageEntry::overlay(overlay.page, overlay.is_writable);
    (void)slat_.exchange(gpa, entry, overlay.below); // can't fail
    overlay.gpa = gpa;
    overlay.active = true;
    overlay.next = first_;
    first_ = &overlay;
    filter_ |= filter_bit(gpa);
    return Status::success;
}

void AddressSpace::lift(Overlay& overlay) {
    if (!overlay.active) {
        return;
    }
    // The one laid over this one, if any, now lies over what this one lay over.
    Overlay* above = nullptr;
    Overlay** link = &first_;
    for (; *link != &overlay; link = &(*link)->next) {
        above = (*link)->gpa == overlay.gpa ? *link : above;
    }
    *link = overlay.next;
    if (above != nullptr) {
        above->below = overlay.below;
    } else {
        NestedPageEntry mine{};
        (void)slat_.exchange(overlay.gpa, overlay.below, mine); // the table exists
    }
    overlay.active = false;
    overlay.below = NestedPageEntry{};
    filter_ = 0;
    for (const Overlay* one = first_; one != nullptr; one = one->next) {
        filter_ |= filter_bit(one->gpa);
    }
}

} // namespace hypervisor
