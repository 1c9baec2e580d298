// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/memory/slat.hpp"

#include <cstdint>

namespace hypervisor {

/// A page of the hypervisor's that lies over a guest page: what is mapped below comes back when it
/// goes (TLFS "GPA Overlay Pages").
struct Overlay {
    bool is_writable = true; ///< by the guest
    SpaPage page{};          ///< 0 until it has been allocated
    GpaPage gpa{};
    NestedPageEntry below{};
    Overlay* next = nullptr;
    bool active = false;
};

/// A guest physical address space with overlay pages. Changes below an overlay are kept for when it
/// goes away. Not locked.
class AddressSpace final {
public:
    constexpr AddressSpace(PageRecords& records, PagePool& pool, bool counts_references)
        : slat_{records, pool, counts_references} {}

    [[nodiscard]] bool create() { return slat_.create(); }
    /// No overlay is active any more, and no TLB holds a translation.
    void destroy() { slat_.destroy(); }
    [[nodiscard]] SpaPage root() const { return slat_.root(); }
    [[nodiscard]] Slat& slat() { return slat_; }
    [[nodiscard]] const Slat& slat() const { return slat_; }
    [[nodiscard]] Slat::Mapping lookup(GpaPage gpa) const { return slat_.lookup(gpa); }
    [[nodiscard]] std::uint64_t mapped_pages() const { return slat_.mapped_pages(); }
    [[nodiscard]] std::uint64_t mapped_large() const { return slat_.mapped_large(); }
    [[nodiscard]] std::uint64_t mapped_huge() const { return slat_.mapped_huge(); }

    // As in Slat.
    Status map(GpaPage gpa, SpaPage spa, std::uint32_t map_flags, ReleaseList& released);
    Status map_large(GpaPage gpa, SpaPage spa, std::uint32_t map_flags, ReleaseList& released);
    Status map_no_access(GpaPage gpa, ReleaseList& released);
    Status map_no_access_large(GpaPage gpa, ReleaseList& released);
    Status unmap(GpaPage gpa, ReleaseList& released);
    Status unmap_large(GpaPage gpa, ReleaseList& released);
    /// Of the guest's own page, also while an overlay lies over it.
    [[nodiscard]] std::uint8_t access_state(GpaPage gpa, std::uint64_t flags, bool& changed);

    /// Whether an overlay may lie there; quick, and seldom wrong.
    [[nodiscard]] bool may_have_overlay(GpaPage gpa) const {
        return (filter_ & filter_bit(gpa)) != 0;
    }
    /// Lays the overlay's page over `gpa`, from wherever it lies now; if that fails it stays there.
    /// One that lies there already is covered in its turn.
    Status lay(Overlay& overlay, GpaPage gpa);
    /// Takes it away again.
    void lift(Overlay& overlay);

private:
    [[nodiscard]] Overlay* overlay_at(GpaPage gpa) const;
    [[nodiscard]] bool has_overlay_within(GpaPage large) const;
    static constexpr std::uint64_t filter_bit(GpaPage gpa) {
        return 1ull << ((gpa.number() / pages_per_large_page) % 64);
    }

    Slat slat_;
    Overlay* first_ = nullptr;
    std::uint64_t filter_ = 0; ///< a bit for the 2 MiB (modulo 64) of every overlay
};

} // namespace hypervisor
