// SPDX-License-Identifier: Apache-2.0
// An entry of a nested page table as AMD-V reads it (AMD64 APM vol. 2, 15.25), and what the
// hypervisor writes into entries that the processor ignores because they are not present.
#pragma once

#include "abi/memory.h"
#include "hypervisor/memory/address.hpp"

#include <cstdint>

namespace hypervisor {

class NestedPageEntry final {
public:
    constexpr NestedPageEntry() = default;
    explicit constexpr NestedPageEntry(std::uint64_t raw) : raw_{raw} {}

    static constexpr NestedPageEntry table(SpaPage page) {
        return NestedPageEntry{page.address() | present | writable | user};
    }
    /// \param map_flags HV_MAP_GPA_…. A present page can be read: one that may not is no_access().
    static constexpr NestedPageEntry leaf(SpaPage page, std::uint32_t map_flags, bool large) {
        std::uint64_t raw = page.address() | present | user | (large ? large_page : 0);
        raw |= (map_flags & HV_MAP_GPA_WRITABLE) != 0 ? writable : 0;
        raw |= (map_flags & HV_MAP_GPA_EXECUTABLE) != 0 ? 0 : no_execute;
        raw |= (map_flags & HV_MAP_GPA_NOT_CACHED) != 0 ? cache_disable | write_through : 0;
        return NestedPageEntry{raw};
    }
    /// A page of the hypervisor's that lies over what the guest has there; it refers to nothing.
    static constexpr NestedPageEntry overlay(SpaPage page, bool is_writable) {
        return NestedPageEntry{
            page.address() | present | (is_writable ? writable : 0) | user | overlay_mark};
    }
    static constexpr NestedPageEntry no_access() { return NestedPageEntry{no_access_mark}; }
    /// Part of 2 MiB without access, kept in the entry of the table above so that it costs no
    /// table.
    static constexpr NestedPageEntry no_access_range(std::uint64_t first, std::uint64_t count) {
        return NestedPageEntry{no_access_mark | (first << 12) | (count << 24)};
    }

    [[nodiscard]] constexpr std::uint64_t raw() const { return raw_; }
    [[nodiscard]] constexpr bool is_present() const { return (raw_ & present) != 0; }
    [[nodiscard]] constexpr bool is_large() const { return (raw_ & large_page) != 0; }
    [[nodiscard]] constexpr bool is_overlay() const { return (raw_ & overlay_mark) != 0; }
    [[nodiscard]] constexpr bool is_no_access() const {
        return !is_present() && (raw_ & no_access_mark) != 0;
    }
    [[nodiscard]] constexpr std::uint64_t range_first() const { return (raw_ >> 12) & 0xfff; }
    [[nodiscard]] constexpr std::uint64_t range_count() const { return (raw_ >> 24) & 0xfff; }
    [[nodiscard]] constexpr SpaPage page() const {
        return SpaPage{(raw_ & address_mask) >> page_shift};
    }
    [[nodiscard]] constexpr std::uint32_t map_flags() const {
        std::uint32_t flags = HV_MAP_GPA_READABLE;
        flags |= (raw_ & writable) != 0 ? HV_MAP_GPA_WRITABLE : 0;
        flags |= (raw_ & no_execute) != 0 ? 0 : HV_MAP_GPA_EXECUTABLE;
        flags |= (raw_ & cache_disable) != 0 ? HV_MAP_GPA_NOT_CACHED : 0;
        return flags;
    }

    static constexpr std::uint64_t accessed = 1ull << 5;
    static constexpr std::uint64_t dirty = 1ull << 6;

private:
    static constexpr std::uint64_t present = 1ull << 0;
    static constexpr std::uint64_t writable = 1ull << 1;
    static constexpr std::uint64_t user = 1ull << 2;
    static constexpr std::uint64_t write_through = 1ull << 3;
    static constexpr std::uint64_t cache_disable = 1ull << 4;
    static constexpr std::uint64_t large_page = 1ull << 7;
    static constexpr std::uint64_t no_access_mark = 1ull << 9;
    static constexpr std::uint64_t overlay_mark = 1ull << 10;
    static constexpr std::uint64_t no_execute = 1ull << 63;
    static constexpr std::uint64_t address_mask = 0x000ffffffffff000ull;

    std::uint64_t raw_ = 0;
};

} // namespace hypervisor
