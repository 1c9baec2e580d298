// SPDX-License-Identifier: Apache-2.0
// Pages of the build machine in the place of physical ones: the hypervisor points to a page by its
// number, and so can a test, because a process's addresses fit into a page table entry.
#pragma once

#include "hypervisor/memory/page_pool.hpp"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace hypervisor {

/// Consecutive pages, filled with rubbish: nothing may count on zeros.
class HostPages final {
public:
    explicit HostPages(std::size_t count)
        : bytes_{static_cast<std::byte*>(std::aligned_alloc(page_size, count * page_size))},
          count_{count} {
        std::memset(bytes_.get(), 0xa5, count * page_size);
    }
    [[nodiscard]] std::size_t count() const { return count_; }
    [[nodiscard]] SpaPage operator[](std::size_t index) const {
        return spa_page_of(bytes_.get() + index * page_size);
    }
    void add_to(PagePool& pool) const {
        for (std::size_t i = 0; i < count_; ++i) {
            pool.add((*this)[i]);
        }
    }

private:
    struct Free {
        void operator()(void* at) const { std::free(at); }
    };
    std::unique_ptr<std::byte, Free> bytes_;
    std::size_t count_;
};

/// Takes pages out of a pool until it has `left` free, and puts them back at the end.
class Shortage final {
public:
    Shortage(PagePool& pool, std::uint64_t left) : pool_{pool} {
        while (pool_.balance().free > left) {
            taken_.push_back(*pool_.allocate());
        }
    }
    ~Shortage() {
        for (const SpaPage page : taken_) {
            pool_.free(page);
        }
    }
    Shortage(const Shortage&) = delete;
    Shortage& operator=(const Shortage&) = delete;

private:
    PagePool& pool_;
    std::vector<SpaPage> taken_{};
};

} // namespace hypervisor
