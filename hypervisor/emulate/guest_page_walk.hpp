// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

namespace hypervisor {

/// What of a virtual processor decides how its addresses are translated (APM vol. 2, chapter 5).
/// Features that aren't named here (protection keys, shadow stacks) must not be offered to guests.
struct PagingState {
    std::uint64_t cr0 = 0;
    std::uint64_t cr3 = 0;
    std::uint64_t cr4 = 0;
    std::uint64_t efer = 0;
    std::uint64_t rflags = 0;
    std::uint8_t cpl = 0;
    std::uint8_t physical_bits = 52; ///< MAXPHYADDR, 32 to 52
    bool gigabyte_pages = true;
    /// The processor's copy of the four PAE entries; without it they are read at CR3.
    std::optional<std::array<std::uint64_t, 4>> pdptes{};
};

struct PageAccess {
    enum class Kind : std::uint8_t { read, write, execute };

    Kind kind = Kind::read;
    /// Of the processor itself, to a descriptor table and the like: as supervisor at any CPL, and
    /// RFLAGS.AC doesn't lift SMAP.
    bool implicit_supervisor = false;
    /// Look only where the address leads; what the access may do isn't asked.
    bool ignore_permissions = false;
};

struct Translation {
    std::uint64_t gpa = 0;
    std::uint64_t page_size = 0;
    bool writable = false; ///< by the tables, without regard to CR0.WP
    bool user = false;
    bool executable = false;
    bool write_through = false; ///< PWT, PCD and PAT of the last entry
    bool cache_disable = false;
    bool pat = false;

    bool operator==(const Translation&) const = default;
};

struct PageFault {
    enum class Kind : std::uint8_t {
        not_present,
        protection,
        reserved_bit,
        non_canonical,    ///< #GP or #SS, not a page fault
        table_unreadable, ///< a table lies where no memory is; no exception of the guest's
        table_unstable,   ///< changed at each of several attempts; let the guest try again
    };

    Kind kind = Kind::not_present;
    std::uint32_t error_code = 0; ///< as #PF pushes it, for the first three

    bool operator==(const PageFault&) const = default;
};

/// Guest physical memory as the walk sees it. Sizes are 4 or 8, addresses multiples of the size.
/// Nothing means that there is no memory (or none that may be written).
template <class Reader>
concept GuestMemoryReader = requires(Reader& reader, std::uint64_t gpa, unsigned size,
    std::uint64_t expected, std::uint64_t desired) {
    { reader.read_entry(gpa, size) } -> std::same_as<std::optional<std::uint64_t>>;
    /// Atomic; whether the entry was still the expected one.
    {
        reader.compare_exchange_entry(gpa, size, expected, desired)
        } -> std::same_as<std::optional<bool>>;
};

/// One walk through the tables, without the memory: it asks for entries and is given them. Every
/// entry is looked at once, so it doesn't matter if guest memory changes meanwhile.
class GuestPageWalk final {
public:
    static constexpr std::size_t max_levels = 5;

    struct Entry {
        std::uint64_t gpa = 0;
        std::uint64_t value = 0;
        std::uint64_t marked = 0; ///< the value with its accessed and dirty bits as they are to be
    };

    GuestPageWalk(const PagingState& state, std::uint64_t address, PageAccess access);

    /// The address of the entry to be fed next; none when there is a result.
    [[nodiscard]] std::optional<std::uint64_t> wanted() const;
    [[nodiscard]] unsigned entry_size() const { return mode_ == Mode::two_level ? 4 : 8; }
    void feed(std::uint64_t entry);

    /// Only when nothing is wanted any more.
    [[nodiscard]] const std::expected<Translation, PageFault>& result() const { return result_; }
    /// The entries that the walk went through and that have an accessed bit.
    [[nodiscard]] std::span<const Entry> entries() const {
        return std::span{entries_}.first(entry_count_);
    }

private:
    enum class Mode : std::uint8_t { none, two_level, pae, long_mode };

    void start(const PagingState& state);
    void finish(std::uint64_t entry);
    void fail(PageFault::Kind kind);
    [[nodiscard]] std::uint64_t entry_address() const;
    [[nodiscard]] unsigned level_shift() const;
    [[nodiscard]] bool is_leaf(std::uint64_t entry) const;
    [[nodiscard]] std::uint64_t reserved_bits(std::uint64_t entry) const;
    [[nodiscard]] std::uint64_t address_mask() const;
    [[nodiscard]] std::uint64_t leaf_address(std::uint64_t entry) const;
    [[nodiscard]] bool permitted() const;
    [[nodiscard]] bool no_execute_enabled() const;

    std::uint64_t address_;
    std::uint64_t cr0_;
    std::uint64_t cr4_;
    std::uint64_t efer_;
    PageAccess access_;
    bool user_access_;
    bool smap_lifted_;
    std::uint8_t physical_bits_;
    bool gigabyte_pages_;
    Mode mode_ = Mode::none;
    unsigned level_ = 0; ///< of the entry wanted: 5 or 4 down to 1; 0 when done
    std::uint64_t table_ = 0;
    Translation translation_;
    std::expected<Translation, PageFault> result_;
    std::array<Entry, max_levels> entries_{};
    std::size_t entry_count_ = 0;
};

enum class AccessedDirty : bool { leave, update };

namespace detail {

enum class MarkResult : std::uint8_t { done, changed, unreadable };

template <GuestMemoryReader Reader>
MarkResult mark_entries(const GuestPageWalk& walk, Reader& reader) {
    for (const GuestPageWalk::Entry& entry : walk.entries()) {
        if (entry.marked == entry.value) {
            continue;
        }
        const auto exchanged =
            reader.compare_exchange_entry(entry.gpa, walk.entry_size(), entry.value, entry.marked);
        if (!exchanged) {
            return MarkResult::unreadable;
        }
        if (!*exchanged) {
            return MarkResult::changed;
        }
    }
    return MarkResult::done;
}

} // namespace detail

/// Translates a guest virtual (linear) address as the processor would. With `update`, accessed bits
/// are set on the way, and the dirty bit for a write, if the access is permitted.
template <GuestMemoryReader Reader>
[[nodiscard]] std::expected<Translation, PageFault> translate_guest_address(
    const PagingState& state, std::uint64_t address, PageAccess access, AccessedDirty policy,
    Reader& reader) {
    constexpr unsigned max_attempts = 8;
    for (unsigned attempt = 0; attempt < max_attempts; ++attempt) {
        GuestPageWalk walk{state, address, access};
        while (const auto wanted = walk.wanted()) {
            const auto entry = reader.read_entry(*wanted, walk.entry_size());
            if (!entry) {
                return std::unexpected(PageFault{PageFault::Kind::table_unreadable, 0});
            }
            walk.feed(*entry);
        }
        if (!walk.result() || policy == AccessedDirty::leave) {
            return walk.result();
        }
        switch (detail::mark_entries(walk, reader)) {
        case detail::MarkResult::done:
            return walk.result();
        case detail::MarkResult::unreadable:
            return std::unexpected(PageFault{PageFault::Kind::table_unreadable, 0});
        case detail::MarkResult::changed:
            break;
        }
    }
    return std::unexpected(PageFault{PageFault::Kind::table_unstable, 0});
}

} // namespace hypervisor
