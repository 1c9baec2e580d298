// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/memory/address.hpp"

#include <atomic>
#include <cstdint>
#include <span>

namespace hypervisor {

/// Whose a system physical page is.
enum class PageKind : std::uint8_t {
    device,     ///< no memory: registers of a device, or nothing; the root may use it
    root,       ///< memory of the root partition, which may map it into children
    hypervisor, ///< the hypervisor's from the beginning, mapped in no partition
    overlay,    ///< reserved for the root's overlay pages: the hypervisor's, mapped in the root
    deposited,  ///< deposited for a partition, mapped in no partition
    shared,     ///< deposited, and mapped in the root as a state, message or statistics page
};

/// One record per system physical page and a summary per 2 MiB: the owner, and how many mappings of
/// children and hypercalls under way refer to it. What is referred to keeps its owner. Every nested
/// page table is derived from these records; each change is one compare-and-exchange, so processors
/// need no lock among them.
class PageRecords final {
public:
    /// Bytes that the records of `pages` pages take.
    static constexpr std::uint64_t bytes_for(std::uint64_t pages) {
        return pages * sizeof(Record) + large_count(pages) * sizeof(Record);
    }

    /// \param storage bytes_for(pages) bytes, aligned to 8. All pages are of kind `device` at
    /// first.
    void initialise(void* storage, std::uint64_t pages);

    /// Sets the kind of a page while the machine is set up; not for use afterwards.
    void assign(SpaPage page, PageKind kind);

    [[nodiscard]] PageKind kind(SpaPage page) const;
    /// The partition that a page was deposited for: its slot.
    [[nodiscard]] std::uint16_t owner(SpaPage page) const;
    [[nodiscard]] std::uint64_t pages() const { return records_.size(); }

    /// Refers to a page of the root, which then can't be deposited. Device pages need no reference.
    /// \return false if the page is neither the root's nor a device's.
    [[nodiscard]] bool try_reference(SpaPage page);
    void release(SpaPage page);

    /// The same for the 2 MiB that begin at `page`, as one; \return false unless all are the
    /// root's.
    [[nodiscard]] bool try_reference_large(SpaPage page);
    void release_large(SpaPage page);

    /// Takes a page that nothing refers to from the root. \return false if it cannot be taken.
    [[nodiscard]] bool try_take(SpaPage page, std::uint16_t owner);
    /// Gives a deposited page back to the root.
    void give_back(SpaPage page);

    /// Between `deposited` and `shared`.
    void set_shared(SpaPage page, bool shared);

private:
    using Record = std::atomic<std::uint64_t>;

    // A record: kind in bits 7..0, owner in 23..8, references from 24 on. A summary: the number of
    // pages that are not the root's in bits 15..0, references from 24 on.
    static constexpr std::uint64_t one_reference = 1ull << 24;
    static constexpr std::uint64_t kind_of(std::uint64_t record) { return record & 0xff; }
    static constexpr std::uint64_t make(PageKind kind, std::uint16_t owner = 0) {
        return static_cast<std::uint64_t>(kind) | (std::uint64_t{owner} << 8);
    }
    static constexpr std::uint64_t large_count(std::uint64_t pages) {
        return (pages + pages_per_large_page - 1) / pages_per_large_page;
    }
    [[nodiscard]] bool covers(SpaPage page) const { return page.number() < records_.size(); }
    Record& large(SpaPage page) { return large_[page.number() / pages_per_large_page]; }

    std::span<Record> records_{};
    std::span<Record> large_{};
};

} // namespace hypervisor
