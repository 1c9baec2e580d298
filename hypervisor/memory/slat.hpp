// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/hypercall/status.hpp"
#include "hypervisor/memory/nested_page_entry.hpp"
#include "hypervisor/memory/page_pool.hpp"
#include "hypervisor/memory/page_records.hpp"

#include <array>
#include <atomic>

namespace hypervisor {

/// What changes to an address space have set free. The pages may still be in a TLB; they are
/// released only when all TLBs have been flushed.
class ReleaseList final {
public:
    /// The most that one operation on an address space adds.
    static constexpr unsigned most_per_operation = pages_per_large_page + 2;

    [[nodiscard]] bool has_room() const { return count_ + most_per_operation <= capacity; }
    [[nodiscard]] bool empty() const { return count_ == 0; }

    void add_page(SpaPage page) { add(page, Kind::page); }
    void add_large_page(SpaPage page) { add(page, Kind::large_page); }
    void add_table(SpaPage page) { add(page, Kind::table); }

    /// Releases all. The caller has flushed the TLBs.
    void release(PageRecords& records, PagePool& pool);

private:
    enum class Kind : std::uint8_t { page, large_page, table };
    static constexpr unsigned capacity = 2 * pages_per_large_page;

    void add(SpaPage page, Kind kind) {
        entries_[count_++] = page.address() | static_cast<std::uint64_t>(kind);
    }

    unsigned count_ = 0;
    std::array<std::uint64_t, capacity> entries_;
};

/// A guest physical address space: second-level address translation by a nested page table.
/// Not locked: the partition does that. Lookups may run beside changes.
class Slat final {
public:
    enum class Access : std::uint8_t { unmapped, no_access, mapped };
    struct Mapping {
        Access access = Access::unmapped;
        bool large = false;
        bool overlay = false;        ///< of the hypervisor's
        std::uint32_t map_flags = 0; ///< HV_MAP_GPA_… that are in force
        SpaPage page{};              ///< the 4 KiB page that was asked for
    };

    /// \param counts_references false for the root, whose map of everything holds nothing in place.
    constexpr Slat(PageRecords& records, PagePool& pool, bool counts_references)
        : records_{records},
          pool_{pool},
          counts_references_{counts_references} {}

    /// Makes the empty space. \return false if the pool has no page left.
    [[nodiscard]] bool create();
    /// Frees all tables and releases all pages. The space is in no TLB any more.
    void destroy();

    /// Lets 1 GiB that is mapped in pages of 2 MiB side by side become one entry. The processor has
    /// them; nothing is mapped yet.
    void allow_huge() { makes_huge_ = true; }

    /// Address of the root table, for the processor.
    [[nodiscard]] SpaPage root() const { return root_; }

    /// Maps one page of 4 KiB.
    Status map(GpaPage gpa, SpaPage spa, std::uint32_t map_flags, ReleaseList& released);
    /// Maps one page of 2 MiB, both addresses aligned.
    Status map_large(GpaPage gpa, SpaPage spa, std::uint32_t map_flags, ReleaseList& released);
    /// Maps 1 GiB, identical; for the root's space only.
    Status map_huge_identity(GpaPage gpa);
    /// Makes a page known, but without access: touching it is an intercept. Costs no table page
    /// where the 2 MiB around it hold nothing else.
    Status map_no_access(GpaPage gpa, ReleaseList& released);
    Status map_no_access_large(GpaPage gpa, ReleaseList& released);
    /// Costs a table page only where it makes a hole in a larger mapping, or in a range without
    /// access.
    Status unmap(GpaPage gpa, ReleaseList& released);
    Status unmap_large(GpaPage gpa, ReleaseList& released);

    /// Makes the tables that lead to a page, so that exchange() there can't fail. \return false if
    /// the pool has no page left.
    [[nodiscard]] bool prepare(GpaPage gpa);
    /// Puts an entry in the place of a page's, and gives back the one that was there with whatever
    /// it refers to: for overlay pages.
    Status exchange(GpaPage gpa, NestedPageEntry value, NestedPageEntry& old);
    /// Changes an entry that exchange() has given back as map() and unmap() would change it.
    Status replace_detached(NestedPageEntry& place, NestedPageEntry value, ReleaseList& released);

    /// Refers to 2 MiB as a large mapping of them would: each of their pages can then be mapped.
    [[nodiscard]] bool try_hold_large(SpaPage page);
    void let_go_large(SpaPage page);

    [[nodiscard]] Mapping lookup(GpaPage gpa) const;

    /// Reads and changes the accessed and dirty state of a page (abi: HV_GPA_ACCESS_…). A page that
    /// is taken away for a while, without access, keeps its state.
    /// \param changed set if a TLB flush is needed before the new state can be relied on.
    [[nodiscard]] std::uint8_t access_state(GpaPage gpa, std::uint64_t flags, bool& changed);
    /// The same for an entry that exchange() has given back.
    [[nodiscard]] static std::uint8_t detached_access_state(
        NestedPageEntry& place, std::uint64_t flags);
    /// The hypervisor has written to a page for the guest.
    void note_written(GpaPage gpa);

    /// Whether each 4 KiB shall have a state of its own; all that is mapped as more is split then.
    /// \return insufficient_memory if the pool is empty: what is done stays, a second call goes on.
    Status track_pages(bool each);
    [[nodiscard]] bool tracks_pages() const { return tracks_pages_; }
    /// Makes sure of a table for the 2 MiB around a page, or says whether there is one.
    [[nodiscard]] bool make_table(GpaPage gpa) { return reach(gpa, page_level) != nullptr; }
    [[nodiscard]] bool has_table(GpaPage gpa) const { return find(gpa, page_level) != nullptr; }

    /// In units of 4 KiB, whatever maps them.
    [[nodiscard]] std::uint64_t mapped_pages() const { return mapped_pages_; }
    /// How many mappings are of 2 MiB.
    [[nodiscard]] std::uint64_t mapped_large() const { return mapped_large_; }
    /// The same of 1 GiB.
    [[nodiscard]] std::uint64_t mapped_huge() const { return mapped_huge_; }

    // How often, since the space was made:

    /// An entry has been changed, that of a page or of a large one, or what lies below an overlay.
    [[nodiscard]] std::uint64_t modifications() const { return modifications_; }
    /// One mapping has become many of the next smaller size.
    [[nodiscard]] std::uint64_t shattered() const { return shattered_; }
    /// And many one.
    [[nodiscard]] std::uint64_t recombined() const { return recombined_; }

    static constexpr std::uint64_t address_limit = 1ull << 48;

private:
    using Entry = std::atomic<std::uint64_t>;
    static constexpr unsigned entries_per_table = 512;
    enum Level : unsigned { page_level = 0, large_level = 1, huge_level = 2, top_level = 3 };

    static unsigned index(GpaPage gpa, unsigned level) {
        return static_cast<unsigned>(gpa.number() >> (9 * level)) & (entries_per_table - 1);
    }
    static Entry* table_at(SpaPage page) { return pointer_to<Entry>(page); }
    static NestedPageEntry get(const Entry& entry) {
        return NestedPageEntry{entry.load(std::memory_order_acquire)};
    }
    static void set(Entry& entry, NestedPageEntry value) {
        entry.store(value.raw(), std::memory_order_release);
    }

    Entry* find(GpaPage gpa, unsigned level) const;
    Entry* find_smallest(GpaPage gpa, std::uint64_t& pages) const;
    Entry* reach(GpaPage gpa, unsigned level);
    bool split(Entry& entry, unsigned level);
    bool reference(SpaPage page, bool large);
    void change(Entry& entry, NestedPageEntry value) {
        set(entry, value);
        ++modifications_;
    }
    NestedPageEntry replace(Entry& entry, NestedPageEntry value);
    void drop(NestedPageEntry old, bool large, ReleaseList& released);
    void drop_table(NestedPageEntry old, ReleaseList& released);
    Status replace_large(GpaPage gpa, NestedPageEntry value, ReleaseList& released);
    void destroy_table(SpaPage table, unsigned level);
    void merge(GpaPage gpa, ReleaseList& released);
    void release_range(SpaPage page, unsigned level);

    PageRecords& records_;
    PagePool& pool_;
    SpaPage root_{};
    std::uint64_t mapped_pages_ = 0;
    std::uint64_t mapped_large_ = 0;
    std::uint64_t mapped_huge_ = 0;
    std::uint64_t modifications_ = 0;
    std::uint64_t shattered_ = 0;
    std::uint64_t recombined_ = 0;
    bool makes_huge_ = false;
    bool tracks_pages_ = false;
    std::uint64_t next_to_split_ = 0; ///< number of the page where track_pages() goes on
    bool counts_references_;
};

} // namespace hypervisor
