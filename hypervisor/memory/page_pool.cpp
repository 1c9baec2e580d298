// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/memory/page_pool.hpp"

#include "hypervisor/debug/panic.hpp"

#include <cstring>

namespace hypervisor {

void clear_page(SpaPage page) {
    std::memset(pointer_to<void>(page), 0, page_size);
}

void PagePool::push(SpaPage page) {
    auto* entry = pointer_to<FreePage>(page);
    entry->next = first_;
    first_ = entry;
    ++free_;
}

std::optional<SpaPage> PagePool::pop() {
    if (first_ == nullptr) {
        return std::nullopt;
    }
    FreePage* const entry = first_;
    first_ = entry->next;
    --free_;
    return spa_page_of(entry);
}

void PagePool::add(SpaPage page) {
    const SpinGuard guard{lock_};
    push(page);
    ++total_;
}

std::optional<SpaPage> PagePool::remove() {
    const SpinGuard guard{lock_};
    const auto page = pop();
    if (page) {
        --total_;
    }
    return page;
}

std::optional<SpaPage> PagePool::allocate() {
    std::optional<SpaPage> page;
    {
        const SpinGuard guard{lock_};
        page = pop();
    }
    if (page) {
        clear_page(*page);
    }
    return page;
}

void PagePool::free(SpaPage page) {
    const SpinGuard guard{lock_};
    require(free_ < total_, "a page is freed that the pool has not given out");
    push(page);
}

PagePool::Balance PagePool::balance() const {
    const SpinGuard guard{lock_};
    return {free_, total_};
}

} // namespace hypervisor
