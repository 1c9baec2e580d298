// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/emulate/guest_page_walk.hpp"
#include "hypervisor/emulate/walk_trace.hpp"

#include <array>
#include <cstdint>
#include <optional>

namespace hypervisor {

/// The pages whose accesses a virtual processor was intercepted at last: where its page tables led,
/// for such an access by such a program. The registers of a device come again and again; what led
/// to them is compared with what lies there now, which takes a tenth of the walk.
class KnownOperands final {
public:
    static constexpr std::uint64_t no_epoch = ~0ull; ///< they are counted from below

    struct Place {
        std::uint64_t page = 0; ///< the guest virtual address of its first byte
        std::uint64_t rights = 0;
        std::uint64_t cr3 = 0;
        /// Of the translations that pointers into guest memory rest on.
        std::uint64_t epoch = no_epoch;
    };

    /// What of a virtual processor in 64-bit mode decides whether it may do such an access to a
    /// page, in one word: the registers' bits where they are, in the lowest its CPL and the kind.
    static std::uint64_t rights_of(const PagingState& state, PageAccess::Kind kind) {
        constexpr std::uint64_t write_protect = 1ull << 16;   // in CR0
        constexpr std::uint64_t no_execute = 1ull << 11;      // in EFER
        constexpr std::uint64_t smep_and_smap = 3ull << 20;   // in CR4
        constexpr std::uint64_t alignment_check = 1ull << 18; // in RFLAGS
        return (state.cr0 & write_protect) | (state.efer & no_execute) |
            (state.cr4 & smep_and_smap) | (state.rflags & alignment_check) | state.cpl |
            (static_cast<std::uint64_t>(kind) << 2);
    }

    /// \param top_entry as of WalkTrace::follow. \return the GPA of the page, if all is as it was.
    template <class TopEntry>
    [[nodiscard]] std::optional<std::uint64_t> find(const Place& place, TopEntry&& top_entry) {
        Known* const known = at(place);
        if (known == nullptr || known->place.epoch != place.epoch) {
            return std::nullopt;
        }
        if (known->place.cr3 != place.cr3) {
            if (!known->trace.follow(place.cr3, place.page, top_entry)) {
                return std::nullopt;
            }
            known->place.cr3 = place.cr3;
        }
        return known->trace.is_as_it_was() ? std::optional{known->gpa} : std::nullopt;
    }

    /// \param gpa of the page that the walk has led to.
    void remember(const Place& place, const WalkTrace& trace, std::uint64_t gpa) {
        Known* known = at(place);
        if (known == nullptr) {
            known = &known_[next_++ % slots];
        }
        *known = {.place = place, .trace = trace, .gpa = gpa};
        known->trace.fill_up();
    }

private:
    static constexpr unsigned slots = 8; // the APIC, and what of devices a loop goes round

    struct Known {
        Place place{};
        WalkTrace trace{};
        std::uint64_t gpa = 0;
    };

    Known* at(const Place& place) {
        for (Known& known : known_) {
            if (known.place.page == place.page && known.place.rights == place.rights) {
                return &known;
            }
        }
        return nullptr;
    }

    std::array<Known, slots> known_{};
    unsigned next_ = 0; ///< the one that is given up next
};

} // namespace hypervisor
