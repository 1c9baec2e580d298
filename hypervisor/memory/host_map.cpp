// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/memory/host_map.hpp"

#include "hypervisor/cpu/intrinsics.hpp"

#include <algorithm>

extern "C" {
extern const std::uint8_t image_begin[];
extern const std::uint8_t image_text_end[];
extern const std::uint8_t image_rodata_end[];
extern const std::uint8_t image_end[];
}

namespace hypervisor {

namespace {

constexpr std::uint64_t present = 1ull << 0;
constexpr std::uint64_t writable = 1ull << 1;
constexpr std::uint64_t large_page = 1ull << 7;
constexpr std::uint64_t no_execute = 1ull << 63;
constexpr std::uint64_t address_mask = 0x000ffffffffff000ull;
constexpr unsigned top_level = 3;

std::uint64_t address_of(const std::uint8_t* symbol) {
    return reinterpret_cast<std::uint64_t>(symbol);
}

std::uint64_t flags_of(std::uint64_t address) {
    if (address >= address_of(image_begin) && address < address_of(image_text_end)) {
        return present;
    }
    if (address >= address_of(image_text_end) && address < address_of(image_rodata_end)) {
        return present | no_execute;
    }
    return present | writable | no_execute;
}

} // namespace

HostMap::Entry* HostMap::table(Entry& entry, PagePool& pool) {
    if ((entry & present) == 0) {
        const auto page = pool.allocate();
        if (!page) {
            return nullptr;
        }
        entry = page->address() | present | writable;
    }
    return reinterpret_cast<Entry*>(entry & address_mask);
}

bool HostMap::map(PagePool& pool, std::uint64_t address, bool large, Entry flags) {
    Entry* at = &root_;
    const unsigned lowest = large ? 1 : 0;
    for (unsigned level = top_level;; --level) {
        Entry* const entries = table(*at, pool);
        if (entries == nullptr) {
            return false;
        }
        at = &entries[(address >> (page_shift + 9 * level)) & 511];
        if (level == lowest) {
            break;
        }
    }
    *at = address | flags | (large ? large_page : 0);
    return true;
}

bool HostMap::build(PagePool& pool, std::uint64_t end) {
    // What needs care is at the beginning: page 0 and the image. The rest goes in large pages.
    const std::uint64_t careful =
        (address_of(image_end) + large_page_size - 1) & ~(large_page_size - 1);
    for (std::uint64_t at = page_size; at < careful; at += page_size) {
        if (!map(pool, at, false, flags_of(at))) {
            return false;
        }
    }
    constexpr std::uint64_t registers_end = 1ull << 32; // the local APIC's among them
    for (std::uint64_t at = careful; at < std::max(end, registers_end); at += large_page_size) {
        if (!map(pool, at, true, present | writable | no_execute)) {
            return false;
        }
    }
    return true;
}

bool HostMap::hide(PagePool& pool, std::uint64_t address) {
    Entry* at = &root_;
    for (unsigned level = top_level + 1; level > 0; --level) {
        if ((*at & large_page) != 0) {
            const auto page = pool.allocate();
            if (!page) {
                return false;
            }
            auto* const below = pointer_to<Entry>(*page);
            for (unsigned i = 0; i < large_page_size / page_size; ++i) {
                below[i] = (*at & ~large_page) + i * page_size;
            }
            *at = page->address() | present | writable;
        }
        at = &reinterpret_cast<Entry*>(
            *at & address_mask)[(address >> (page_shift + 9 * (level - 1))) & 511];
    }
    *at = 0;
    invalidate_page(address);
    return true;
}

void HostMap::load() const {
    write_cr3(root_ & address_mask);
}

} // namespace hypervisor
