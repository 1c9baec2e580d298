// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>
#include <vector>

namespace croft::disk {

// The pages of a file's metadata that are in memory: bounded, least recently used goes first. Pages
// that must be written stay, and their number is bounded too, so that they can always be made
// durable in one step. Not thread-safe: the image's lock guards it.
class PageCache final {
public:
    class Page {
    public:
        std::uint64_t offset() const { return offset_; }
        std::span<std::byte> bytes() { return bytes_; }
        std::span<const std::byte> bytes() const { return bytes_; }
        bool dirty() const { return dirty_; }

    private:
        friend class PageCache;
        std::uint64_t offset_ = 0; // in the file
        std::vector<std::byte> bytes_;
        bool dirty_ = false;
        bool committing_ = false;
        std::uint32_t pins_ = 0; // writes under way that will dirty the page
    };

    // `capacity`: pages in all; `dirty_limit`: of these, to be written at most.
    PageCache(std::uint32_t page_size, std::size_t capacity, std::size_t dirty_limit)
        : page_size_{page_size},
          capacity_{capacity},
          dirty_limit_{dirty_limit} {}

    std::uint32_t page_size() const { return page_size_; }
    Page* find(std::uint64_t offset);
    // The page must not be in yet. Never fails: over capacity, it grows until pages are clean.
    Page& insert(std::uint64_t offset, std::span<const std::byte> bytes);
    // Forgets the pages from `offset` on, dirty ones too.
    void drop(std::uint64_t offset, std::uint64_t length);

    // Whether `count` more pages may become dirty. A page that is dirty, pinned or being made
    // durable may anyway: it is counted.
    bool has_room(std::size_t count = 1) const {
        return claimed_ + set_aside_ + count <= dirty_limit_;
    }
    bool may_dirty(const Page& page) const { return is_claimed(page) || has_room(); }
    // Keeps room for who changes several pages in one step: others find none in it. It is theirs
    // once fits() says so; the pages that they change count besides until take_back().
    void set_aside(std::size_t count) { set_aside_ += count; }
    std::size_t dirty_limit() const { return dirty_limit_; }
    bool fits() const { return claimed_ + set_aside_ <= dirty_limit_; }
    void take_back(std::size_t count) { set_aside_ -= count; }
    void mark_dirty(Page& page);
    void pin(Page& page);
    void unpin(Page& page);
    bool any_dirty() const { return dirty_ != 0; }

    // The dirty pages, now clean but not to be dropped until commit_done(). Until then their room
    // is theirs: should they turn out not to be durable, all that is dirty still fits one step.
    std::vector<Page*> begin_commit();
    // `durable` false: they are dirty again.
    void commit_done(std::span<Page* const> pages, bool durable);

private:
    using Order = std::list<Page>;

    static bool is_claimed(const Page& page) {
        return page.dirty_ || page.committing_ || page.pins_ != 0;
    }
    void evict();

    std::uint32_t page_size_;
    std::size_t capacity_;
    std::size_t dirty_limit_;
    std::size_t dirty_ = 0;
    std::size_t claimed_ = 0; // pages that are dirty, pinned or being made durable
    std::size_t set_aside_ = 0;
    Order order_; // most recently used first
    std::unordered_map<std::uint64_t, Order::iterator> index_;
    std::uint64_t last_offset_ = ~std::uint64_t{0}; // a run of requests mostly hits one page
    Page* last_ = nullptr;
};

} // namespace croft::disk
