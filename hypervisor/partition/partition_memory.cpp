// SPDX-License-Identifier: Apache-2.0
//
// A partition's memory, as the hypervisor reads and writes it.
#include "hypervisor/partition/partition.hpp"

#include <algorithm>
#include <cstring>

namespace hypervisor {

namespace {

constexpr std::uint32_t writable = HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE;

std::size_t offset_in_page(std::uint64_t gpa) {
    return gpa & (page_size - 1);
}

} // namespace

std::byte* Partition::accessible(GpaPage gpa, std::uint32_t needed) {
    // The root has its memory where it lies, whole, but for what overlays cover.
    if (is_root_ && !space_.may_have_overlay(gpa) &&
        records_.kind(SpaPage{gpa.number()}) == PageKind::root) {
        return pointer_to<std::byte>(SpaPage{gpa.number()});
    }
    const Slat::Mapping mapping = space_.lookup(gpa);
    // What is mapped but is no memory (registers of a device) is not for copying.
    return mapping.access == Slat::Access::mapped && (mapping.map_flags & needed) == needed &&
            records_.kind(mapping.page) != PageKind::device
        ? pointer_to<std::byte>(mapping.page)
        : nullptr;
}

const std::byte* Partition::memory_at(std::uint64_t gpa) {
    const SpinGuard guard{space_lock_};
    const std::byte* const page = accessible(GpaPage::containing(gpa), HV_MAP_GPA_READABLE);
    return page != nullptr ? page + offset_in_page(gpa) : nullptr;
}

bool Partition::read_gpa(std::uint64_t gpa, std::span<std::byte> to) {
    while (!to.empty()) {
        const std::size_t piece = std::min(to.size(), page_size - offset_in_page(gpa));
        const SpinGuard guard{space_lock_};
        const std::byte* const page = accessible(GpaPage::containing(gpa), HV_MAP_GPA_READABLE);
        if (page == nullptr) {
            return false;
        }
        std::memcpy(to.data(), page + offset_in_page(gpa), piece);
        to = to.subspan(piece);
        gpa += piece;
    }
    return true;
}

bool Partition::is_writable(std::uint64_t gpa, std::size_t size) {
    const SpinGuard guard{space_lock_};
    for (GpaPage page = GpaPage::containing(gpa); page.address() < gpa + size; page = page + 1) {
        if (accessible(page, writable) == nullptr) {
            return false;
        }
    }
    return true;
}

bool Partition::write_gpa(std::uint64_t gpa, std::span<const std::byte> from) {
    while (!from.empty()) {
        const std::size_t piece = std::min(from.size(), page_size - offset_in_page(gpa));
        const SpinGuard guard{space_lock_};
        std::byte* const page = accessible(GpaPage::containing(gpa), writable);
        if (page == nullptr) {
            return false;
        }
        std::memcpy(page + offset_in_page(gpa), from.data(), piece);
        if (!is_root_) { // nobody asks what the root has written
            space_.slat().note_written(GpaPage::containing(gpa));
        }
        from = from.subspan(piece);
        gpa += piece;
    }
    return true;
}

} // namespace hypervisor
