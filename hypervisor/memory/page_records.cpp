// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/memory/page_records.hpp"

#include "hypervisor/debug/panic.hpp"

#include <new>

namespace hypervisor {

void PageRecords::initialise(void* storage, std::uint64_t pages) {
    auto* first = static_cast<Record*>(storage);
    const std::uint64_t summaries = large_count(pages);
    for (std::uint64_t i = 0; i < pages; ++i) {
        new (&first[i]) Record{make(PageKind::device)};
    }
    for (std::uint64_t i = 0; i < summaries; ++i) {
        new (&first[pages + i]) Record{pages_per_large_page};
    }
    records_ = std::span{first, pages};
    large_ = std::span{first + pages, summaries};
}

void PageRecords::assign(SpaPage page, PageKind kind) {
    require(covers(page), "a page is assigned that has no record");
    const bool was_root = this->kind(page) == PageKind::root;
    const bool is_root = kind == PageKind::root;
    records_[page.number()].store(make(kind));
    if (was_root != is_root) {
        large(page).fetch_add(is_root ? ~std::uint64_t{0} : 1);
    }
}

PageKind PageRecords::kind(SpaPage page) const {
    return covers(page) ? static_cast<PageKind>(kind_of(records_[page.number()].load()))
                        : PageKind::device;
}

std::uint16_t PageRecords::owner(SpaPage page) const {
    return covers(page) ? static_cast<std::uint16_t>(records_[page.number()].load() >> 8)
                        : std::uint16_t{0};
}

bool PageRecords::try_reference(SpaPage page) {
    if (!covers(page)) {
        return true;
    }
    Record& record = records_[page.number()];
    std::uint64_t seen = record.load();
    do {
        if (kind_of(seen) == static_cast<std::uint64_t>(PageKind::device)) {
            return true;
        }
        if (kind_of(seen) != static_cast<std::uint64_t>(PageKind::root)) {
            return false;
        }
    } while (!record.compare_exchange_weak(seen, seen + one_reference));
    return true;
}

void PageRecords::release(SpaPage page) {
    if (!covers(page) || kind(page) == PageKind::device) {
        return;
    }
    const std::uint64_t before = records_[page.number()].fetch_sub(one_reference);
    require(before >= one_reference, "a page is released more often than it was referred to");
}

bool PageRecords::try_reference_large(SpaPage page) {
    if (page.number() + pages_per_large_page > records_.size()) {
        return false;
    }
    Record& record = large(page);
    std::uint64_t seen = record.load();
    do {
        if ((seen & 0xffff) != 0) {
            return false;
        }
    } while (!record.compare_exchange_weak(seen, seen + one_reference));
    return true;
}

void PageRecords::release_large(SpaPage page) {
    const std::uint64_t before = large(page).fetch_sub(one_reference);
    require(before >= one_reference, "2 MiB are released more often than they were referred to");
}

bool PageRecords::try_take(SpaPage page, std::uint16_t owner) {
    if (!covers(page)) {
        return false;
    }
    // The summary first: from here on no one can refer to the 2 MiB as one.
    Record& summary = large(page);
    std::uint64_t seen = summary.load();
    do {
        if (seen >= one_reference) {
            return false;
        }
    } while (!summary.compare_exchange_weak(seen, seen + 1));
    std::uint64_t expected = make(PageKind::root);
    if (!records_[page.number()].compare_exchange_strong(
            expected, make(PageKind::deposited, owner))) {
        summary.fetch_sub(1);
        return false;
    }
    return true;
}

void PageRecords::give_back(SpaPage page) {
    require(kind(page) == PageKind::deposited, "a page is given back that was not deposited");
    records_[page.number()].store(make(PageKind::root));
    large(page).fetch_sub(1);
}

void PageRecords::set_shared(SpaPage page, bool shared) {
    const PageKind from = shared ? PageKind::deposited : PageKind::shared;
    const PageKind to = shared ? PageKind::shared : PageKind::deposited;
    require(kind(page) == from, "a page changes between private and shared that is neither");
    records_[page.number()].store(make(to, owner(page)));
}

} // namespace hypervisor
