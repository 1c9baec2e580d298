// SPDX-License-Identifier: Apache-2.0
#include "disk/page_cache.hpp"

#include <iterator>

namespace croft::disk {

PageCache::Page* PageCache::find(std::uint64_t offset) {
    if (last_ != nullptr && last_offset_ == offset)
        return last_;
    const auto found = index_.find(offset);
    if (found == index_.end())
        return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    last_offset_ = offset;
    last_ = &*found->second;
    return last_;
}

PageCache::Page& PageCache::insert(std::uint64_t offset, std::span<const std::byte> bytes) {
    if (index_.size() >= capacity_)
        evict();
    Page& page = order_.emplace_front();
    page.offset_ = offset;
    page.bytes_.assign(bytes.begin(), bytes.end());
    index_.emplace(offset, order_.begin());
    return page;
}

void PageCache::evict() {
    for (auto page = order_.end(); page != order_.begin() && index_.size() >= capacity_;) {
        --page;
        if (is_claimed(*page))
            continue;
        if (last_ == &*page)
            last_ = nullptr;
        index_.erase(page->offset_);
        page = order_.erase(page);
    }
}

void PageCache::drop(std::uint64_t offset, std::uint64_t length) {
    last_ = nullptr;
    for (auto page = order_.begin(); page != order_.end();) {
        if (page->offset_ - offset >= length || page->offset_ < offset) {
            ++page;
            continue;
        }
        dirty_ -= page->dirty_;
        claimed_ -= is_claimed(*page);
        index_.erase(page->offset_);
        page = order_.erase(page);
    }
}

void PageCache::mark_dirty(Page& page) {
    claimed_ += !is_claimed(page);
    dirty_ += !page.dirty_;
    page.dirty_ = true;
}

void PageCache::pin(Page& page) {
    claimed_ += !is_claimed(page);
    ++page.pins_;
}

void PageCache::unpin(Page& page) {
    --page.pins_;
    claimed_ -= !is_claimed(page);
}

std::vector<PageCache::Page*> PageCache::begin_commit() {
    std::vector<Page*> pages;
    pages.reserve(dirty_);
    for (Page& page : order_) {
        if (!page.dirty_)
            continue;
        page.dirty_ = false;
        page.committing_ = true;
        pages.push_back(&page);
    }
    dirty_ = 0;
    return pages;
}

void PageCache::commit_done(std::span<Page* const> pages, bool durable) {
    for (Page* page : pages) {
        if (!durable)
            mark_dirty(*page);
        page->committing_ = false;
        claimed_ -= !is_claimed(*page);
    }
}

} // namespace croft::disk
