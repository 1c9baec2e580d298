// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/memory/slat.hpp"

namespace hypervisor {

namespace {

constexpr std::uint64_t accessed_dirty = NestedPageEntry::accessed | NestedPageEntry::dirty;

/// The bits of an entry that HV_GPA_ACCESS_… asks to clear and to set.
struct AccessChange {
    explicit AccessChange(std::uint64_t flags) {
        clear |= (flags & HV_GPA_ACCESS_CLEAR_ACCESSED) != 0 ? NestedPageEntry::accessed : 0;
        clear |= (flags & HV_GPA_ACCESS_CLEAR_DIRTY) != 0 ? NestedPageEntry::dirty : 0;
        set |= (flags & HV_GPA_ACCESS_SET_ACCESSED) != 0 ? NestedPageEntry::accessed : 0;
        set |= (flags & HV_GPA_ACCESS_SET_DIRTY) != 0 ? NestedPageEntry::dirty : 0;
    }
    [[nodiscard]] std::uint64_t apply(std::uint64_t raw) const { return (raw & ~clear) | set; }

    std::uint64_t clear = 0;
    std::uint64_t set = 0;
};

std::uint8_t state_of(std::uint64_t raw) {
    return static_cast<std::uint8_t>(
        ((raw & NestedPageEntry::accessed) != 0 ? HV_GPA_PAGE_ACCESSED : 0u) |
        ((raw & NestedPageEntry::dirty) != 0 ? HV_GPA_PAGE_DIRTY : 0u));
}

/// What an entry that takes another's place has of its state: the guest's page is the same.
std::uint64_t state_to_keep(NestedPageEntry old) {
    return old.is_overlay() ? 0 : old.raw() & accessed_dirty;
}

} // namespace

void ReleaseList::release(PageRecords& records, PagePool& pool) {
    for (unsigned i = 0; i < count_; ++i) {
        const auto page = SpaPage::containing(entries_[i]);
        switch (static_cast<Kind>(entries_[i] & (page_size - 1))) {
        case Kind::page:
            records.release(page);
            break;
        case Kind::large_page:
            records.release_large(page);
            break;
        case Kind::table:
            pool.free(page);
            break;
        }
    }
    count_ = 0;
}

bool Slat::create() {
    const auto page = pool_.allocate();
    if (page) {
        root_ = *page;
    }
    return page.has_value();
}

void Slat::destroy() {
    if (root_ != SpaPage{}) {
        destroy_table(root_, top_level);
        root_ = SpaPage{};
        mapped_pages_ = 0;
        mapped_large_ = 0;
        mapped_huge_ = 0;
    }
}

/// Lets go what an entry of a level referred to. 1 GiB is referred to as its large pages are.
void Slat::release_range(SpaPage page, unsigned level) {
    if (level == page_level) {
        records_.release(page);
        return;
    }
    const std::uint64_t parts = level == large_level ? 1 : entries_per_table;
    for (std::uint64_t i = 0; i < parts; ++i) {
        records_.release_large(page + i * pages_per_large_page);
    }
}

void Slat::destroy_table(SpaPage table, unsigned level) {
    Entry* const entries = table_at(table);
    for (unsigned i = 0; i < entries_per_table; ++i) {
        const NestedPageEntry entry = get(entries[i]);
        if (!entry.is_present() || entry.is_overlay()) {
            continue;
        }
        if (level != page_level && !entry.is_large()) {
            destroy_table(entry.page(), level - 1);
        } else if (counts_references_) {
            release_range(entry.page(), level);
        }
    }
    pool_.free(table);
}

/// The entry for `gpa` in the table of `level`, or null where there is no such table, as there is
/// none before create() and after destroy().
Slat::Entry* Slat::find(GpaPage gpa, unsigned level) const {
    if (root_ == SpaPage{}) {
        return nullptr;
    }
    SpaPage table = root_;
    for (unsigned l = top_level; l > level; --l) {
        const NestedPageEntry entry = get(table_at(table)[index(gpa, l)]);
        if (!entry.is_present() || entry.is_large()) {
            return nullptr;
        }
        table = entry.page();
    }
    return &table_at(table)[index(gpa, level)];
}

/// The entry that says what there is at a page, and of how many pages it says so.
Slat::Entry* Slat::find_smallest(GpaPage gpa, std::uint64_t& pages) const {
    pages = 1;
    for (const unsigned level : {page_level, large_level, huge_level}) {
        if (Entry* const entry = find(gpa, level); entry != nullptr) {
            return entry;
        }
        pages *= entries_per_table;
    }
    return nullptr;
}

/// The same, making tables on the way: a larger mapping is split, a range without access is written
/// out. \return null if the pool is empty, or there is no space; then nothing that a guest could
/// see has changed.
Slat::Entry* Slat::reach(GpaPage gpa, unsigned level) {
    if (root_ == SpaPage{}) {
        return nullptr;
    }
    SpaPage table = root_;
    for (unsigned l = top_level; l > level; --l) {
        Entry& entry = table_at(table)[index(gpa, l)];
        const NestedPageEntry seen = get(entry);
        if ((!seen.is_present() || seen.is_large()) && !split(entry, l)) {
            return nullptr;
        }
        table = get(entry).page();
    }
    return &table_at(table)[index(gpa, level)];
}

/// Replaces an entry that is no table by a table that says the same.
bool Slat::split(Entry& entry, unsigned level) {
    const auto page = pool_.allocate();
    if (!page) {
        return false;
    }
    const NestedPageEntry old = get(entry);
    Entry* const below = table_at(*page);
    if (old.is_large()) {
        const std::uint64_t pages_below = 1ull << (9 * (level - 1));
        for (unsigned i = 0; i < entries_per_table; ++i) {
            const SpaPage part = old.page() + i * pages_below;
            const bool large = level - 1 != page_level;
            NestedPageEntry leaf = NestedPageEntry::leaf(part, old.map_flags(), large);
            leaf = NestedPageEntry{leaf.raw() | (old.raw() & accessed_dirty)};
            set(below[i], leaf);
            if (counts_references_ && level == large_level) {
                // Cannot fail: the reference to the whole keeps each part the root's.
                (void)records_.try_reference(part);
            }
        }
        if (counts_references_ && level == large_level) {
            records_.release_large(old.page());
        }
        mapped_large_ += level == large_level ? -1ull : entries_per_table;
        mapped_huge_ -= level == huge_level ? 1 : 0;
        ++shattered_;
    } else if (old.is_no_access()) {
        for (std::uint64_t i = 0; i < old.range_count(); ++i) {
            set(below[old.range_first() + i], NestedPageEntry::no_access());
        }
    }
    // The processor may set accessed and dirty in the whole until the last moment.
    std::uint64_t seen = old.raw();
    while (!entry.compare_exchange_strong(seen, NestedPageEntry::table(*page).raw())) {
        for (unsigned i = 0; i < entries_per_table; ++i) {
            below[i].fetch_or(seen & accessed_dirty);
        }
    }
    return true;
}

bool Slat::try_hold_large(SpaPage page) {
    return reference(page, true);
}

void Slat::let_go_large(SpaPage page) {
    if (counts_references_) {
        records_.release_large(page);
    }
}

bool Slat::reference(SpaPage page, bool large) {
    if (!counts_references_) {
        return true;
    }
    return large ? records_.try_reference_large(page) : records_.try_reference(page);
}

/// Changes a page's entry but for its state, which the processor may set until the last moment.
NestedPageEntry Slat::replace(Entry& entry, NestedPageEntry value) {
    ++modifications_;
    const NestedPageEntry old{entry.exchange(value.raw())};
    if (const std::uint64_t state = state_to_keep(old); state != 0) {
        entry.fetch_or(state);
    }
    return old;
}

void Slat::drop(NestedPageEntry old, bool large, ReleaseList& released) {
    if (!old.is_present() || old.is_overlay()) {
        return;
    }
    mapped_pages_ -= large ? pages_per_large_page : 1;
    mapped_large_ -= large ? 1 : 0;
    if (!counts_references_) {
        return;
    }
    if (large) {
        released.add_large_page(old.page());
    } else {
        released.add_page(old.page());
    }
}

void Slat::drop_table(NestedPageEntry old, ReleaseList& released) {
    const Entry* const entries = table_at(old.page());
    for (unsigned i = 0; i < entries_per_table; ++i) {
        drop(get(entries[i]), false, released);
    }
    released.add_table(old.page());
}

Status Slat::map(GpaPage gpa, SpaPage spa, std::uint32_t map_flags, ReleaseList& released) {
    Entry* const entry = reach(gpa, page_level);
    if (entry == nullptr) {
        return Status::insufficient_memory;
    }
    if (!reference(spa, false)) {
        return Status::access_denied;
    }
    drop(replace(*entry, NestedPageEntry::leaf(spa, map_flags, false)), false, released);
    ++mapped_pages_;
    return Status::success;
}

Status Slat::replace_large(GpaPage gpa, NestedPageEntry value, ReleaseList& released) {
    Entry* const entry = reach(gpa, large_level);
    if (entry == nullptr) {
        return Status::insufficient_memory;
    }
    const NestedPageEntry old = get(*entry);
    change(*entry, value);
    if (old.is_present() && !old.is_large()) {
        drop_table(old, released);
    } else {
        drop(old, true, released);
    }
    return Status::success;
}

Status Slat::map_large(GpaPage gpa, SpaPage spa, std::uint32_t map_flags, ReleaseList& released) {
    if (!reference(spa, true)) {
        return Status::access_denied;
    }
    const Status status = replace_large(gpa, NestedPageEntry::leaf(spa, map_flags, true), released);
    if (status == Status::success) {
        mapped_pages_ += pages_per_large_page;
        ++mapped_large_;
        merge(gpa, released);
    } else {
        let_go_large(spa);
    }
    return status;
}

/// A table whose entries map 1 GiB of memory in one piece, all alike, becomes one entry. What the
/// processor notes in the table until it has forgotten it would be lost: the whole counts as
/// accessed and written.
void Slat::merge(GpaPage gpa, ReleaseList& released) {
    if (!makes_huge_ || tracks_pages_) {
        return;
    }
    Entry& above = *find(gpa, huge_level);
    const SpaPage table = get(above).page();
    const Entry* const entries = table_at(table);
    const NestedPageEntry first = get(entries[0]);
    if (!first.is_present() || !first.is_large() ||
        first.page().number() % pages_per_huge_page != 0) {
        return;
    }
    for (std::uint64_t i = entries_per_table - 1; i > 0; --i) {
        const auto wanted =
            NestedPageEntry::leaf(first.page() + i * pages_per_large_page, first.map_flags(), true);
        if ((get(entries[i]).raw() & ~accessed_dirty) != wanted.raw()) {
            return;
        }
    }
    const auto whole = NestedPageEntry::leaf(first.page(), first.map_flags(), true);
    set(above, NestedPageEntry{whole.raw() | accessed_dirty});
    released.add_table(table);
    mapped_large_ -= entries_per_table;
    ++mapped_huge_;
    ++recombined_;
}

Status Slat::map_huge_identity(GpaPage gpa) {
    Entry* const entry = reach(gpa, huge_level);
    if (entry == nullptr) {
        return Status::insufficient_memory;
    }
    constexpr std::uint32_t all = HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE;
    change(*entry, NestedPageEntry::leaf(SpaPage{gpa.number()}, all, true));
    mapped_pages_ += pages_per_huge_page;
    ++mapped_huge_;
    return Status::success;
}

Status Slat::map_no_access(GpaPage gpa, ReleaseList& released) {
    Entry* const above = reach(gpa, large_level);
    if (above == nullptr) {
        return Status::insufficient_memory;
    }
    const NestedPageEntry old = get(*above);
    const std::uint64_t i = index(gpa, page_level);
    if (!old.is_present()) {
        if (!old.is_no_access()) {
            change(*above, NestedPageEntry::no_access_range(i, 1));
            return Status::success;
        }
        const std::uint64_t first = old.range_first();
        const std::uint64_t end = first + old.range_count();
        if (i >= first && i < end) {
            return Status::success;
        }
        if (i == end || i + 1 == first) {
            change(
                *above, NestedPageEntry::no_access_range(i < first ? i : first, end - first + 1));
            return Status::success;
        }
    }
    Entry* const entry = reach(gpa, page_level);
    if (entry == nullptr) {
        return Status::insufficient_memory;
    }
    drop(replace(*entry, NestedPageEntry::no_access()), false, released);
    return Status::success;
}

Status Slat::map_no_access_large(GpaPage gpa, ReleaseList& released) {
    return replace_large(gpa, NestedPageEntry::no_access_range(0, pages_per_large_page), released);
}

Status Slat::unmap(GpaPage gpa, ReleaseList& released) {
    if (lookup(gpa).access == Access::unmapped) {
        return Status::success;
    }
    Entry* const above = find(gpa, large_level);
    if (above != nullptr && get(*above).is_no_access()) {
        // At either end the range only becomes shorter, which costs no table.
        const std::uint64_t i = index(gpa, page_level);
        const std::uint64_t first = get(*above).range_first();
        const std::uint64_t count = get(*above).range_count();
        if (count == 1) {
            change(*above, NestedPageEntry{});
            return Status::success;
        }
        if (i == first || i + 1 == first + count) {
            change(*above,
                NestedPageEntry::no_access_range(i == first ? first + 1 : first, count - 1));
            return Status::success;
        }
    }
    Entry* const entry = reach(gpa, page_level);
    if (entry == nullptr) {
        return Status::insufficient_memory;
    }
    const NestedPageEntry old = get(*entry);
    change(*entry, NestedPageEntry{});
    drop(old, false, released);
    return Status::success;
}

bool Slat::prepare(GpaPage gpa) {
    return reach(gpa, page_level) != nullptr;
}

Status Slat::unmap_large(GpaPage gpa, ReleaseList& released) {
    if (find(gpa, large_level) == nullptr && lookup(gpa).access == Access::unmapped) {
        return Status::success;
    }
    return replace_large(gpa, NestedPageEntry{}, released);
}

Status Slat::exchange(GpaPage gpa, NestedPageEntry value, NestedPageEntry& old) {
    Entry* const entry = reach(gpa, page_level);
    if (entry == nullptr) {
        return Status::insufficient_memory;
    }
    // The processor may set accessed and dirty in the old one until the last moment.
    old = NestedPageEntry{entry->exchange(value.raw())};
    ++modifications_;
    return Status::success;
}

Status Slat::replace_detached(
    NestedPageEntry& place, NestedPageEntry value, ReleaseList& released) {
    if (value.is_present()) {
        if (!reference(value.page(), false)) {
            return Status::access_denied;
        }
        ++mapped_pages_;
    }
    ++modifications_;
    drop(place, false, released);
    const bool is_gone = !value.is_present() && !value.is_no_access();
    place = NestedPageEntry{value.raw() | (is_gone ? 0 : state_to_keep(place))};
    return Status::success;
}

Slat::Mapping Slat::lookup(GpaPage gpa) const {
    if (root_ == SpaPage{} || gpa.address() >= address_limit) {
        return {};
    }
    SpaPage table = root_;
    for (unsigned level = top_level;; --level) {
        const NestedPageEntry entry = get(table_at(table)[index(gpa, level)]);
        if (entry.is_no_access()) {
            const std::uint64_t i = index(gpa, page_level);
            const bool inside = level == page_level ||
                (i >= entry.range_first() && i < entry.range_first() + entry.range_count());
            return {.access = inside ? Access::no_access : Access::unmapped};
        }
        if (!entry.is_present()) {
            return {};
        }
        if (level == page_level || entry.is_large()) {
            const std::uint64_t within = gpa.number() & ((1ull << (9 * level)) - 1);
            return {.access = Access::mapped,
                .large = level != page_level,
                .overlay = entry.is_overlay(),
                .map_flags = entry.map_flags(),
                .page = entry.page() + within};
        }
        table = entry.page();
    }
}

std::uint8_t Slat::access_state(GpaPage gpa, std::uint64_t flags, bool& changed) {
    std::uint64_t pages = 1;
    Entry* const entry = find_smallest(gpa, pages);
    // One state stands for all: it may be forgotten only when the last of them has been asked.
    if ((gpa.number() + 1) % pages != 0) {
        flags &= ~std::uint64_t{HV_GPA_ACCESS_CLEAR_ACCESSED | HV_GPA_ACCESS_CLEAR_DIRTY};
    }
    if (entry == nullptr || (!get(*entry).is_present() && !get(*entry).is_no_access())) {
        return 0;
    }
    const AccessChange change{flags};
    std::uint64_t before = entry->load();
    while (!entry->compare_exchange_weak(before, change.apply(before))) {
    }
    changed = changed || (before & change.clear) != 0;
    return state_of(before);
}

std::uint8_t Slat::detached_access_state(NestedPageEntry& place, std::uint64_t flags) {
    const std::uint64_t before = place.raw();
    if (place.is_present() || place.is_no_access()) {
        place = NestedPageEntry{AccessChange{flags}.apply(before)};
    }
    return state_of(before);
}

void Slat::note_written(GpaPage gpa) {
    std::uint64_t pages = 1;
    Entry* const entry = find_smallest(gpa, pages);
    if (entry != nullptr && get(*entry).is_present()) {
        entry->fetch_or(accessed_dirty);
    }
}

Status Slat::track_pages(bool each) {
    if (!each || !tracks_pages_) {
        next_to_split_ = 0;
    }
    tracks_pages_ = each;
    while (each && next_to_split_ < address_limit >> page_shift) {
        const GpaPage gpa{next_to_split_};
        SpaPage table = root_;
        unsigned level = top_level;
        for (; level > large_level; --level) {
            Entry& entry = table_at(table)[index(gpa, level)];
            if (!get(entry).is_present()) {
                break;
            }
            if (get(entry).is_large() && !split(entry, level)) {
                return Status::insufficient_memory;
            }
            table = get(entry).page();
        }
        if (level == large_level) {
            Entry& entry = table_at(table)[index(gpa, large_level)];
            if (get(entry).is_large() && get(entry).is_present() && !split(entry, large_level)) {
                return Status::insufficient_memory;
            }
        }
        const std::uint64_t step = 1ull << (9 * level);
        next_to_split_ = (next_to_split_ / step + 1) * step;
    }
    return Status::success;
}

} // namespace hypervisor
